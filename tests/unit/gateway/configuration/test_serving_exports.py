"""What a gateway without a database is handed, and that it takes nothing else."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from django.conf import settings
from pytest_django import Settings

from docsearch.signing import public_text
from feature_config.catalogue import Feature
from gateway.configuration.errors import ConfigurationError
from gateway.configuration.serving_exports import (
    ExportRefused,
    ServingExport,
    export_data,
    import_data,
    key_id_of,
    load_signing_key,
    sign,
    signing_key_from_settings,
    trusted_keys_from_settings,
    verify,
)
from gateway.configuration.stored import read_configuration
from gateway.snapshot import build_snapshot
from selfhosted_models.secrets import SecretBox
from tests.factories import assign, make_deployment, make_fingerprint, setting_of
from tests.unit.gateway.parts import prompts

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
TRUSTED = {key_id_of(KEY.public_key()): KEY.public_key()}
API_KEY = "sk-canary-0123456789abcdef"


@pytest.fixture
def export(db: None) -> ServingExport:
    first = make_deployment(name="first", api_key=API_KEY, idle_timeout_s=7)
    first.api_key_env = "FIRST_KEY"
    first.save()
    make_fingerprint(first, context=4096, system_role=False)
    assign(Feature.DUO_CHAT, first, make_deployment(name="second", is_active=False))
    setting_of(Feature.TEST_GENERATION).deactivate()
    return ServingExport(read_configuration(), 7)


def test_import_serves_what_was_exported(export: ServingExport) -> None:
    imported = import_data(verify(sign(export_data(export), KEY), TRUSTED))

    box = SecretBox(settings.ENCRYPTION_KEYS)
    theirs = build_snapshot(imported.configuration, prompts(), box)
    ours = build_snapshot(export.configuration, prompts(), box)
    assert imported.revision == 7
    assert (theirs.version, theirs.rows_digest) == (ours.version, ours.rows_digest)
    assert theirs.routes == ours.routes
    assert theirs.deployments["first"].context_tokens == 4096
    key = theirs.deployments["first"].api_key
    assert key is not None
    assert key.equals(API_KEY)
    assert replace(theirs.deployments["first"], api_key=None) == replace(
        ours.deployments["first"], api_key=None
    )


def test_export_holds_no_secret(export: ServingExport) -> None:
    assert API_KEY not in str(export_data(export))


def test_same_configuration_is_the_same_text(export: ServingExport) -> None:
    again = ServingExport(read_configuration(), 7)

    assert sign(export_data(export), KEY) == sign(export_data(again), KEY)


def test_text_of_a_stranger_is_refused(export: ServingExport) -> None:
    stranger = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))

    with pytest.raises(ExportRefused, match="No trusted key"):
        verify(sign(export_data(export), stranger), TRUSTED)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_text_that_is_not_signed_is_refused(text: str) -> None:
    with pytest.raises(ExportRefused):
        verify(text, TRUSTED)


def test_changed_text_is_refused(export: ServingExport) -> None:
    header, payload, signature = sign(export_data(export), KEY).split(".")
    other = sign(export_data(replace(export, revision=8)), KEY).split(".")[1]

    assert payload != other
    with pytest.raises(ExportRefused):
        verify(f"{header}.{other}.{signature}", TRUSTED)


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"rows": {}}, {"document": {}}, {"revision": "x"}, {"document": None}]
)
def test_data_whose_parts_do_not_fit_is_refused(
    export: ServingExport, change: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError):
        import_data(export_data(export) | change)


def test_nodes_that_share_encryption_keys_trust_each_other(settings: Settings) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    settings.ENCRYPTION_KEYS = [new, old]
    signed = sign({"format": 1}, signing_key_from_settings())

    assert verify(signed, trusted_keys_from_settings()) == {"format": 1}
    settings.ENCRYPTION_KEYS = [old, new]  # a node that is not told yet which one is the newest
    assert verify(signed, trusted_keys_from_settings()) == {"format": 1}
    settings.ENCRYPTION_KEYS = [old]
    with pytest.raises(ExportRefused):
        verify(signed, trusted_keys_from_settings())


def test_given_keys_replace_those_that_follow_from_encryption_keys(settings: Settings) -> None:
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    settings.SERVING_CONFIG_SIGNING_KEY = pem

    assert set(trusted_keys_from_settings()) == set(TRUSTED)
    settings.SERVING_CONFIG_TRUSTED_KEYS = [public_text(KEY.public_key())]
    settings.SERVING_CONFIG_SIGNING_KEY = ""
    assert set(trusted_keys_from_settings()) == set(TRUSTED)


def test_key_of_another_kind_is_refused() -> None:
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    assert load_signing_key(pem.replace("\n", "\\n")).public_key() == KEY.public_key()
    with pytest.raises(ValueError, match=r".+"):
        load_signing_key("not a key")


def test_key_with_a_password_is_refused() -> None:
    locked = BestAvailableEncryption(b"password")
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked).decode()

    with pytest.raises(ValueError, match="without a password"):
        load_signing_key(pem)
