import json

import django.conf
import pytest
from pytest_django import Settings

from gateway.authentication import keyfiles
from gateway.operations.known_secrets import MASK, KnownSecrets

CANARY = "canary-0123456789"


def known() -> KnownSecrets:
    return KnownSecrets.of_settings(django.conf.settings)


@pytest.mark.parametrize(
    "name", ["SECRET_KEY", "SERVING_CONFIG_TOKEN", "DOCS_REGISTRY_TOKEN", "DOCS_SIGNING_KEY"]
)
def test_secret_of_a_setting_is_masked(settings: Settings, name: str) -> None:
    setattr(settings, name, CANARY)

    assert known().masked(f"it is {CANARY}!") == f"it is {MASK}!"


def test_password_in_a_url_is_masked_as_written_and_as_meant(settings: Settings) -> None:
    settings.DATABASE_URL = "postgres://duo:pass%40word-1@db/duo"

    masked = known().masked("pass%40word-1 and pass@word-1")

    assert masked == f"{MASK} and {MASK}"


def test_secret_of_the_environment_is_masked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEGEMMA_KEY", CANARY)

    assert known().holds(f"x{CANARY}x")


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh1234",
        "sk-abcdefgh1234",
        "glpat-abcdefgh12345678",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "gAAAAABmZmZmZmZmZmZmZmZmZmZmZmZmZmZm",
        "-----BEGIN RSA PRIVATE KEY-----",
        "redis://:hunter22@cache:6379",
    ],
)
def test_what_looks_like_a_secret_is_masked_whosever_it_is(settings: Settings, text: str) -> None:
    assert known().holds(text)
    assert not known().holds(known().masked(text))


def test_ordinary_words_stay(settings: Settings) -> None:
    text = "gpu1 at http://10.0.4.11:8000/v1 answered 401: check its API key."

    assert known().masked(text) == text


def test_private_key_is_masked_however_it_is_spelt(settings: Settings) -> None:
    settings.DOCS_SIGNING_KEY = pem = keyfiles.make_ed25519_key()
    body = pem.splitlines()[1]

    for text in (pem, json.dumps({"key": pem}), pem.replace("\n", "\\n")):
        assert body not in known().masked(text)
