import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from gateway.models import AuditRecord
from gateway.roles import EDITOR, SECURITY_OFFICER, VIEWER
from tests.factories import make_admin, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

USERS = "/admin/auth/user/"
PASSWORD = "seven brown bicycles"


@pytest.fixture
def officer() -> Client:
    client = Client()
    client.force_login(make_user(SECURITY_OFFICER, username="olga"))
    return client


def group_of(role: str) -> int:
    return Group.objects.get(name=role).pk


def test_officer_adds_a_user_with_a_role(officer: Client) -> None:
    filled = {"username": "eva", "password1": PASSWORD, "password2": PASSWORD}

    answer = officer.post(f"{USERS}add/", {**filled, "groups": [group_of(EDITOR)]})

    assert answer.status_code == 302
    eva = User.objects.get(username="eva")
    assert eva.is_staff
    assert eva.has_perm("feature_config.change_featuresetting")
    record = AuditRecord.objects.get(action="user.added")
    assert (record.author, record.object_name) == ("olga", "eva")
    assert record.changes == {"roles": [[], ["editor"]]}
    assert PASSWORD not in str(record.changes)


def test_a_changed_role_is_on_record(officer: Client) -> None:
    vera = make_user(VIEWER, username="vera")

    officer.post(
        f"{USERS}{vera.pk}/change/",
        {"username": "vera", "is_active": "on", "groups": [group_of(EDITOR)]},
    )

    record = AuditRecord.objects.get(action="user.changed")
    assert record.changes == {"roles": [["viewer"], ["editor"]]}


def test_officer_changes_neither_herself_nor_an_administrator(officer: Client) -> None:
    olga, root = User.objects.get(username="olga"), make_admin(username="root")
    asked = {"username": "x", "groups": [group_of(EDITOR)]}

    statuses = [
        officer.post(f"{USERS}{olga.pk}/change/", asked).status_code,
        officer.post(f"{USERS}{root.pk}/change/", asked).status_code,
        officer.get(f"{USERS}{root.pk}/password/").status_code,
    ]

    assert statuses == [403, 403, 403]


def test_officer_cannot_make_an_administrator(officer: Client) -> None:
    vera = make_user(VIEWER, username="vera")

    officer.post(
        f"{USERS}{vera.pk}/change/",
        {"username": "vera", "is_active": "on", "is_superuser": "on", "user_permissions": [1]},
    )

    vera.refresh_from_db()
    assert not vera.is_superuser
    assert not vera.user_permissions.exists()


def test_forgetting_a_second_factor_is_on_record_and_spares_administrators(officer: Client) -> None:
    eva, root = make_user(EDITOR, username="eva"), make_admin(username="root")
    for user in (eva, root):
        TOTPDevice.objects.create(user=user, name="phone", confirmed=True)

    officer.post(USERS, {"action": "reset_second_factor", "_selected_action": [eva.pk, root.pk]})

    assert [device.user for device in TOTPDevice.objects.all()] == [root]
    assert AuditRecord.objects.get(action="second_factor.reset").object_name == "eva"
