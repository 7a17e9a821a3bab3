"""Passwords, lock-out, the second factor, and what the browser is told to keep to itself."""

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.test import Client
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from gateway.models import AuditRecord
from gateway.roles import EDITOR, VIEWER
from tests.factories import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

LOGIN, SECOND, HOME = "/admin/login/", "/admin/second-factor/", "/admin/"
PASSWORD = "seven brown bicycles"


@pytest.fixture(autouse=True)
def _quick_hashes(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def with_second_factor(settings: Settings) -> Iterator[time_machine.Traveller]:
    settings.TOTP_REQUIRED = True
    with time_machine.travel("2026-11-22 12:00:10+00:00", tick=False) as clock:
        yield clock


def user_with_password(role: str, name: str) -> Any:
    user = make_user(role, username=name)
    user.set_password(PASSWORD)
    user.save()
    return user


def log_in(client: Client, name: str, password: str = PASSWORD, **headers: Any) -> Any:
    return client.post(LOGIN, {"username": name, "password": password, "next": HOME}, **headers)


def code_of(name: str) -> str:
    return f"{totp(TOTPDevice.objects.get(user__username=name).bin_key):06d}"


# --- Passwords -----------------------------------------------------------------------------------


def test_a_login_is_on_record() -> None:
    user_with_password(VIEWER, "vera")

    answer = log_in(Client(), "vera", REMOTE_ADDR="10.0.0.9")

    assert answer.headers["Location"] == HOME
    record = AuditRecord.objects.get()
    assert (record.action, record.author) == ("login.succeeded", "vera")
    assert record.source_address == "10.0.0.9"


def test_wrong_passwords_lock_out_that_user_from_that_address_alone(settings: Settings) -> None:
    user_with_password(VIEWER, "vera")
    user_with_password(VIEWER, "victor")

    tries = [log_in(Client(), "vera", "wrong", REMOTE_ADDR="10.0.0.9") for _ in range(6)]
    right = log_in(Client(), "vera", REMOTE_ADDR="10.0.0.9")

    limit = settings.LOGIN_ATTEMPTS
    assert [answer.status_code for answer in tries] == [200] * (limit - 1) + [429] * (7 - limit)
    assert right.status_code == 429
    assert "Wait 15 minutes" in right.content.decode()
    assert right.headers["Retry-After"] == "900"
    assert log_in(Client(), "vera", REMOTE_ADDR="10.0.0.8").status_code == 302
    assert log_in(Client(), "victor", REMOTE_ADDR="10.0.0.9").status_code == 302
    lock_outs = AuditRecord.objects.filter(action="login.locked_out")
    assert [(row.object_name, row.source_address) for row in lock_outs] == [("vera", "10.0.0.9")]


def test_the_lock_ends() -> None:
    user_with_password(VIEWER, "vera")
    with time_machine.travel("2026-11-22 12:00+00:00", tick=False) as clock:
        for _ in range(5):
            log_in(Client(), "vera", "wrong")
        clock.shift(15 * 60 + 1)

        assert log_in(Client(), "vera").status_code == 302


def test_a_session_ends_when_idle_for_half_an_hour() -> None:
    user_with_password(VIEWER, "vera")
    client = Client()
    with time_machine.travel("2026-11-22 12:00+00:00", tick=False) as clock:
        log_in(client, "vera")
        for _ in range(3):  # each page counts anew
            clock.shift(29 * 60)
            assert client.get(HOME).status_code == 200
        clock.shift(31 * 60)

        assert client.get(HOME).headers["Location"].startswith(LOGIN)


# --- The second factor ---------------------------------------------------------------------------


def test_an_editor_sets_up_a_second_factor_before_anything_else(with_second_factor: Any) -> None:
    user_with_password(EDITOR, "eva")
    client = Client()
    log_in(client, "eva")

    refused = client.get(HOME, follow=True)
    page = refused.content.decode()
    done = client.post(SECOND, {"code": code_of("eva"), "next": HOME})

    assert refused.redirect_chain[-1][0].startswith(SECOND)
    assert "<svg" in page
    assert "style=" not in page
    assert done.headers["Location"] == HOME
    assert client.get(HOME).status_code == 200
    assert AuditRecord.objects.filter(action="second_factor.set_up").count() == 1


def test_each_login_asks_for_a_new_code(with_second_factor: time_machine.Traveller) -> None:
    user_with_password(EDITOR, "eva")
    first = Client()
    log_in(first, "eva")
    first.get(SECOND)
    first.post(SECOND, {"code": code_of("eva")})
    used = code_of("eva")
    with_second_factor.shift(1)

    again = Client()
    log_in(again, "eva")
    page = again.get(SECOND).content.decode()
    replayed = again.post(SECOND, {"code": used})
    with_second_factor.shift(60)
    fresh = again.post(SECOND, {"code": code_of("eva")})

    assert "<svg" not in page  # the key is shown once
    assert "That is not the code of this moment" in replayed.content.decode()
    assert fresh.status_code == 302
    assert again.get(HOME).status_code == 200


def test_wrong_codes_make_one_wait(with_second_factor: Any) -> None:
    user_with_password(EDITOR, "eva")
    client = Client()
    log_in(client, "eva")
    client.get(SECOND)
    wrong = f"{(int(code_of('eva')) + 1) % 1_000_000:06d}"

    client.post(SECOND, {"code": wrong})
    right = client.post(SECOND, {"code": code_of("eva")})

    assert "wait a moment" in right.content.decode()
    assert client.get(HOME).headers["Location"].startswith(LOGIN)


def test_a_viewer_needs_none_until_one_is_set_up(with_second_factor: Any) -> None:
    user_with_password(VIEWER, "vera")
    client = Client()
    log_in(client, "vera")
    assert client.get(HOME).status_code == 200

    client.get(SECOND)
    client.post(SECOND, {"code": code_of("vera")})
    other = Client()
    log_in(other, "vera")

    assert other.get(HOME, follow=True).redirect_chain[-1][0].startswith(SECOND)


def test_who_is_half_way_in_can_leave(with_second_factor: Any) -> None:
    user_with_password(EDITOR, "eva")
    client = Client()
    log_in(client, "eva")

    client.post("/admin/logout/")

    assert client.get(SECOND).headers["Location"].startswith(LOGIN)


def test_second_factor_leads_nowhere_else(with_second_factor: Any) -> None:
    user_with_password(EDITOR, "eva")
    client = Client()
    log_in(client, "eva")
    client.get(SECOND)

    answer = client.post(SECOND, {"code": code_of("eva"), "next": "https://evil.example/"})

    assert answer.headers["Location"] == HOME


def test_command_forgets_a_lost_phone(with_second_factor: Any) -> None:
    user = user_with_password(EDITOR, "eva")
    TOTPDevice.objects.create(user=user, name="phone", confirmed=True)
    out = StringIO()

    call_command("reset_second_factor", "eva", stdout=out)
    client = Client()
    log_in(client, "eva")

    assert "eva sets up a new second factor" in out.getvalue()
    assert "<svg" in client.get(SECOND).content.decode()
    assert AuditRecord.objects.filter(action="second_factor.reset", origin="command").exists()


def test_command_names_a_user_that_is_not_there() -> None:
    with pytest.raises(CommandError, match="There is no user nobody"):
        call_command("reset_second_factor", "nobody")


# --- What the browser is told --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "is_secure"),
    [
        ("127.0.0.1:8000", False),
        ("localhost", False),
        ("[::1]:8000", False),
        ("duo.example.com", True),
        ("10.0.0.5:8000", True),
        ("127.0.0.1.evil.example", True),
    ],
)
def test_cookies_are_secure_but_for_plain_http_on_loopback(
    settings: Settings, host: str, *, is_secure: bool
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    user_with_password(VIEWER, "vera")

    answer = log_in(Client(), "vera", headers={"Host": host})

    cookies = answer.cookies
    assert {name: bool(cookie["secure"]) for name, cookie in cookies.items()} == {
        "csrftoken": is_secure,
        "sessionid": is_secure,
    }
    assert all(cookie["httponly"] and cookie["samesite"] == "Lax" for cookie in cookies.values())


def test_cookies_on_loopback_are_secure_over_tls() -> None:
    answer = Client().get(LOGIN, secure=True, headers={"Host": "localhost"})

    assert answer.cookies["csrftoken"]["secure"]
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_pages_may_load_and_send_only_here() -> None:
    answer = Client().get(LOGIN)

    policy = {part.strip() for part in answer.headers["Content-Security-Policy"].split(";")}
    assert policy == {
        "default-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    }
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_form_without_its_cookie_is_explained() -> None:
    strict = Client(enforce_csrf_checks=True)

    answer = log_in(strict, "vera", headers={"Host": "localhost"})

    assert answer.status_code == 403
    assert "Open the pages by https://" in answer.content.decode()


def test_the_icon_is_found() -> None:
    answer: Any = Client().get("/favicon.ico")

    assert answer.headers["Location"] == "/static/gateway/favicon.svg"
