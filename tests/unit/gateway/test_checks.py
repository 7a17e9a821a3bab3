import inspect
import math
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.checks import CheckMessage
from pytest_django import Settings

from gateway import checks
from gateway.checks import check_deployment, check_settings
from gateway.settings import as_switch, database_of
from tests.unit.gateway.signing import weak_key

WEAK_KEY = weak_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

#: Check id -> a setting and values that it complains about.
WRONG: list[tuple[str, str, Any]] = [
    ("gateway.E001", "ENCRYPTION_KEYS", ["too-short"]),
    ("gateway.E001", "ENCRYPTION_KEYS", ["SENTINEL\u00e9"]),
    ("gateway.E001", "ENCRYPTION_KEYS", [""]),
    ("gateway.E002", "AIGW_GITLAB_URL", "gitlab.example.com"),
    ("gateway.E002", "AIGW_GITLAB_URL", "ftp://gitlab.example.com"),
    ("gateway.E002", "AIGW_GITLAB_URL", "https://user:pass@gitlab.example.com"),
    ("gateway.E003", "GATEWAY_TRUSTED_ISSUERS", ["https://gitlab.example.com"]),
    ("gateway.E003", "GATEWAY_TRUSTED_ISSUERS", ["issuer=gitlab.example.com"]),
    ("gateway.E004", "GATEWAY_MODEL_METADATA", "forbid"),
    ("gateway.E004", "GATEWAY_MODEL_METADATA", ""),
    ("gateway.E004", "GATEWAY_MODEL_METADATA", "ALLOW"),
    ("gateway.E005", "UPSTREAM_ALLOWED_CIDRS", ["10.0.0.0/33"]),
    ("gateway.E005", "UPSTREAM_ALLOWED_CIDRS", ["10.0.0.1/8"]),
    ("gateway.E005", "UPSTREAM_ALLOWED_CIDRS", ["gpu1"]),
    ("gateway.E006", "AIGW_SELF_SIGNED_JWT__SIGNING_KEY", "SENTINEL"),
    ("gateway.E006", "AIGW_SELF_SIGNED_JWT__SIGNING_KEY", WEAK_KEY),
    ("gateway.E006", "AIGW_SELF_SIGNED_JWT__VALIDATION_KEY", "SENTINEL"),
    ("gateway.W001", "AIGW_GITLAB_URL", ""),
    ("gateway.E009", "UPSTREAM_ALLOWED_HOSTS", ["http://llm:8000"]),
    ("gateway.E009", "UPSTREAM_ALLOWED_HOSTS", ["llm:8000"]),
    ("gateway.E010", "CONFIGURATION_POLL_S", 0.0),
    ("gateway.E010", "CONFIGURATION_POLL_S", 7200.0),
    ("gateway.E010", "CONFIGURATION_POLL_S", math.nan),
    ("gateway.E014", "GATEWAY_WORKERS", 0),
    ("gateway.E014", "USER_MAX_IN_FLIGHT", -1),
    ("gateway.E014", "REST_REQUESTS_PER_MINUTE", -1),
    ("gateway.E020", "SERVING_CONFIG_SIGNING_KEY", "SENTINEL"),
    ("gateway.E020", "SERVING_CONFIG_SIGNING_KEY", WEAK_KEY),
    ("gateway.E023", "SERVING_CONFIG_TRUSTED_KEYS", ["SENTINEL"]),
    ("gateway.E027", "QUEUE_MAX_WAIT_S", math.nan),
    ("gateway.E027", "QUEUE_MAX_WAIT_S", 31.0),
    ("gateway.E027", "DRAIN_S", 29.0),
    ("gateway.E027", "PROBE_SILENT_S", -1.0),
    ("gateway.E011", "REDIS_URL", "valkey://cache:6379/0"),
    ("gateway.E011", "REDIS_URL", "redis://:SENTINEL@cache:port/0"),
    ("gateway.E026", "FINGERPRINT_HOUR", 24),
    ("gateway.E025", "CA_BUNDLE", "/no/such/file.pem"),
    ("gateway.E025", "CA_BUNDLE", __file__),
    ("gateway.E012", "LOG_LEVEL", "LOUD"),
    ("gateway.E016", "TOTP_REQUIRED", None),
    ("gateway.E016", "SECURE_COOKIES", None),
    ("gateway.E028", "HSTS_S", -1),
    ("gateway.E016", "DOCS_HYBRID", None),
    ("gateway.E015", "AIGW_FEATURE_FLAGS__DISALLOWED_FLAGS", "ai_commit_reader_for_chat"),
    ("gateway.E015", "AIGW_FEATURE_FLAGS__DISALLOWED_FLAGS", '["a"]'),
    ("gateway.E019", "DOCS_SEARCH_URL", "search:9200"),
    ("gateway.E019", "DOCS_SEARCH_URL", "https://user:SENTINEL@search"),
    ("gateway.E018", "GITLAB_VERSION", "latest"),
    ("gateway.E014", "DOCS_UNANSWERED_QUESTIONS", -1),
    ("gateway.E029", "DOCS_REGISTRY_URL", "gitlab.example.com/api/v4/projects/42/packages"),
    ("gateway.E029", "DOCS_REGISTRY_URL", "https://user:SENTINEL@gitlab.example.com"),
    ("gateway.E017", "DOCS_SIGNING_KEY", "SENTINEL"),
    ("gateway.E017", "DOCS_SIGNING_KEY", WEAK_KEY),
    ("gateway.E017", "DOCS_TRUSTED_KEYS", ["SENTINEL"]),
    ("gateway.E017", "DOCS_TRUSTED_KEYS", ["AAAA"]),
    ("gateway.E017", "DOCS_TRUSTED_KEYS", ["\u00e9"]),
]


@pytest.fixture(autouse=True)
def good(settings: Settings, tmp_path: Path) -> Settings:
    """Settings that no check complains about."""
    settings.DATA_DIR = tmp_path
    settings.AIGW_GITLAB_URL = "https://gitlab.example.com/gitlab"
    return settings


def ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def test_good_settings_pass() -> None:
    assert check_settings() == []
    assert check_deployment() == []


@pytest.mark.parametrize(("check_id", "name", "value"), WRONG)
def test_wrong_setting_is_named_with_what_to_do(
    good: Settings, check_id: str, name: str, value: Any
) -> None:
    setattr(good, name, value)

    (message,) = check_settings()

    assert message.id == check_id
    assert message.hint
    assert name in f"{message.msg} {message.hint}"
    assert "SENTINEL" not in message.msg


def test_folder_that_keeps_no_key_is_told(good: Settings) -> None:
    good.DATA_DIR_PROBLEMS = ["/srv/duo/secret_key: Permission denied"]
    good.SECRET_KEY, good.ENCRYPTION_KEYS, good.DOCS_SIGNING_KEY = "", [], ""

    (message,) = check_settings()

    assert message.id == "gateway.E024"
    assert message.msg == "DATA_DIR: /srv/duo/secret_key: Permission denied"
    assert check_deployment() == []


@pytest.mark.parametrize(
    "url", ["mysql://db/duo", "postgres://duo:SENTINEL@db:port/duo", "postgres://[::1/duo", ""]
)
def test_url_that_names_no_database_is_none(url: str) -> None:
    assert database_of(url) is None


def test_each_id_is_of_one_complaint() -> None:
    written = re.findall(r'"(gateway\.[EW]\d+)"', inspect.getsource(checks))

    assert sorted(set(written)) == sorted(written)


@pytest.mark.skipif(bool(find_spec("tokenizers")), reason="the extra is installed")
def test_an_extra_that_is_not_installed_is_told_before_anything_is_served(good: Settings) -> None:
    good.DOCS_HYBRID = True

    (message,) = check_settings()

    assert message.id == "gateway.E030"
    assert "pip install --no-deps --require-hashes -r requirements-hybrid.txt" in message.msg


def test_meaning_cannot_count_in_a_search_engine(good: Settings) -> None:
    good.DOCS_HYBRID = True
    good.DOCS_SEARCH_URL = "https://search:9200"

    assert "gateway.W004" in ids(check_settings())


def test_everything_wrong_is_told_at_once(good: Settings) -> None:
    good.ENCRYPTION_KEYS = ["a", "b"]
    good.GATEWAY_MODEL_METADATA = "forbid"
    good.UPSTREAM_ALLOWED_CIDRS = ["x", "10.0.0.0/8", "y"]

    found = ids(check_settings())

    wanted = ["gateway.E001", "gateway.E004", "gateway.E005"]
    assert found == wanted


@pytest.mark.parametrize("name", ["secret_key", "encryption_key", "signing_key.pem"])
@pytest.mark.parametrize(("mode", "found"), [(0o600, []), (0o640, ["gateway.E007"])])
def test_key_file_that_others_can_read_is_told(
    tmp_path: Path, name: str, mode: int, found: list[str]
) -> None:
    path = tmp_path / name
    path.write_text("a key")
    os.chmod(path, mode)

    assert ids(check_settings()) == found


def test_trusted_issuer_alone_is_enough(good: Settings) -> None:
    good.AIGW_GITLAB_URL = ""
    good.GATEWAY_TRUSTED_ISSUERS = ["https://a.example.com=https://a.example.com/keys"]

    assert check_settings() == []


def test_short_secret_key_is_not_good_enough_to_run(good: Settings) -> None:
    good.SECRET_KEY = "x" * 49

    assert ids(check_deployment()) == ["gateway.E008"]
    assert check_settings() == []


def test_database_of_an_unknown_kind_is_told_without_its_url(good: Settings) -> None:
    good.IS_DATABASE_URL_KNOWN = False

    (message,) = check_settings()

    assert message.id == "gateway.E013"
    assert "DATABASE_URL" in message.msg


def test_a_debug_switch_that_is_neither_on_nor_off_is_named(good: Settings) -> None:
    good.DEBUG_SWITCH = as_switch("maybe")

    (message,) = check_settings()

    assert (message.id, message.msg) == ("gateway.E016", "DEBUG is neither on nor off.")


@pytest.mark.parametrize(
    ("text", "meant"), [("1", True), (" On ", True), ("no", False), ("", False)]
)
def test_switches_are_read_as_people_write_them(text: str, *, meant: bool) -> None:
    assert as_switch(text) is meant


def test_gateway_node_needs_a_place_a_token_and_the_shared_keys(
    good: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    good.SERVING_CONFIG_URL = "config.example.com"
    wrong = {message.id for message in check_settings()}
    good.SERVING_CONFIG_URL, good.SERVING_CONFIG_TOKEN = "https://config.example.com", "a-token"
    monkeypatch.setenv("ENCRYPTION_KEYS", good.ENCRYPTION_KEYS[0])

    assert wrong == {"gateway.E021", "gateway.E022", "gateway.W002"}
    assert check_settings() == []
