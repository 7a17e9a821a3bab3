"""The stored configuration as a signed text, for a gateway that has no database.

Keys of model servers are in it as they are stored: as ciphertext under ENCRYPTION_KEYS. The text is
a compact JWS (RFC 7515), signed with Ed25519.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import settings

from docsearch.signing import load_public_key
from feature_config.catalogue import Feature
from feature_config.resolution import FeatureRoute
from gateway.configuration.document import Choice, Data, Document
from gateway.configuration.errors import ConfigurationError
from gateway.configuration.parsing import document_of
from gateway.configuration.stored import StoredConfiguration, fill_row
from selfhosted_models.errors import SettingInvalid
from selfhosted_models.models import Fingerprint, ModelDeployment
from selfhosted_models.secrets import SecretBox

FORMAT = 1
_KEY_ID_CHARS = 16
_ALGORITHM = "EdDSA"
_TYPE = "serving-config"


class ExportRefused(ConfigurationError):
    """An export is not to be served from."""

    code = "serving_config_refused"


@dataclass(frozen=True, slots=True)
class ServingExport:
    """A configuration as it is handed to gateways.

    Attributes:
        configuration: What `snapshot.build_snapshot` takes.
        revision: Number of the newest revision; one that is lower is an old export, replayed.
    """

    configuration: StoredConfiguration
    revision: int


def export_data(export: ServingExport) -> Data:
    """Return the export as JSON data; the same configuration is always the same data."""
    configuration = export.configuration
    return {
        "format": FORMAT,
        "revision": export.revision,
        "document": configuration.document().to_data(),
        "rows": {
            row.name: {
                "id": str(row.pk),
                "api_key_ciphertext": row.api_key_ciphertext,
                "measured": _measured_data(configuration.fingerprints.get(row.pk)),
            }
            for row in configuration.deployments
        },
    }


def import_data(data: Data) -> ServingExport:
    """Return what `export_data` was given; the rows are not stored.

    Raises:
        ExportRefused: It is of another format, or its parts do not fit together.
        DocumentInvalid: The document in it has a wrong shape.
    """
    if data.get("format") != FORMAT:
        raise ExportRefused(
            f"The serving configuration has the format {data.get('format')!r}, and this version "
            f"reads {FORMAT}: upgrade the gateway and the configuration node together."
        )
    try:
        document = document_of(data["document"])
        stored = data["rows"]
        rows = tuple(_row_of(entry, stored[entry.name]) for entry in document.deployments)
        fingerprints = {
            row.pk: Fingerprint(deployment_id=row.pk, **measured)
            for row in rows
            if (measured := stored[row.name].get("measured"))
        }
        revision = int(data["revision"])
    except (KeyError, TypeError, ValueError) as error:
        raise ExportRefused("The serving configuration lacks a part: fetch it again.") from error
    configuration = StoredConfiguration(rows, _routes_of(document), fingerprints)
    return ServingExport(configuration, revision)


def _measured_data(fingerprint: Fingerprint | None) -> Data | None:
    if fingerprint is None:
        return None
    return {
        "id": fingerprint.pk,
        "subject": fingerprint.subject,
        "digest": fingerprint.digest,
        "facts": fingerprint.facts,
    }


def _row_of(entry: Any, stored: Mapping[str, str]) -> ModelDeployment:
    row = ModelDeployment(pk=UUID(stored["id"]))
    fill_row(row, entry)
    row.api_key_ciphertext = stored["api_key_ciphertext"]
    if entry.api_key is not None:
        row.api_key_env, row.api_key_file = entry.api_key.env, entry.api_key.file
        row.api_key_fingerprint = entry.api_key.stored
    return row


def _routes_of(document: Document) -> dict[Feature, FeatureRoute]:
    return {
        feature: FeatureRoute(
            feature, choice.deployments, choice.is_inactive, choice.prompt_version
        )
        for feature in Feature
        for choice in [document.features.get(feature, Choice())]
    }


# --- The signature --------------------------------------------------------------------------------


def sign(data: Data, key: Ed25519PrivateKey) -> str:
    """Return the data as a signed text; the same data and key make the same text."""
    headers = {"kid": key_id_of(key.public_key()), "typ": _TYPE}
    payload = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    return jwt.PyJWS().encode(payload, key, algorithm=_ALGORITHM, headers=headers)


def verify(text: str, trusted: Mapping[str, Ed25519PublicKey]) -> Data:
    """Return the data in a signed text.

    Args:
        text: As `sign` makes it.
        trusted: Keys by their ids.

    Raises:
        ExportRefused: No trusted key signed it.
    """
    try:
        header = jwt.get_unverified_header(text)
        key = trusted[header["kid"]]
        if header.get("typ") != _TYPE:
            raise ExportRefused("The signed text is something else than a serving configuration.")
        payload = jwt.PyJWS().decode(text, key, algorithms=[_ALGORITHM])
        data: Data = orjson.loads(payload)
    except (jwt.InvalidTokenError, KeyError, ValueError) as error:
        raise ExportRefused(
            "No trusted key signed this serving configuration: check that the gateway trusts the "
            "public key of the configuration node."
        ) from error
    return data


def key_id_of(key: Ed25519PublicKey) -> str:
    """Return the name of a key: the beginning of its SHA-256."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:_KEY_ID_CHARS]


def load_signing_key(pem: str) -> Ed25519PrivateKey:
    """Return the key in a PEM text.

    Raises:
        SettingInvalid: It is not an Ed25519 private key.
    """
    try:
        key = load_pem_private_key(pem.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError):  # its words are left out: they may hold a part of the key
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingInvalid(
            "SERVING_CONFIG_SIGNING_KEY is not a private Ed25519 key.",
            "Give the whole PEM text without a password, as `openssl genpkey -algorithm ed25519` "
            "prints it, or unset it: the key then follows from ENCRYPTION_KEYS.",
        )
    return key


def signing_key_from_settings() -> Ed25519PrivateKey:
    """Return the key that signs here: the given one, else one that ENCRYPTION_KEYS make.

    Raises:
        SettingInvalid: The given one is none.
    """
    if settings.SERVING_CONFIG_SIGNING_KEY:
        return load_signing_key(settings.SERVING_CONFIG_SIGNING_KEY)
    return _derived_keys(settings.ENCRYPTION_KEYS)[0]


def trusted_keys_from_settings() -> dict[str, Ed25519PublicKey]:
    """Return the keys whose configuration is served, by their ids.

    Unless the settings name some, they are those that sign with the same settings as ours: nodes
    share ENCRYPTION_KEYS anyway, and so the keys can be rotated one node after the other.

    Raises:
        SettingInvalid: A key is none.
    """
    if settings.SERVING_CONFIG_TRUSTED_KEYS:
        keys = _given_keys(settings.SERVING_CONFIG_TRUSTED_KEYS)
    elif settings.SERVING_CONFIG_SIGNING_KEY:
        keys = [load_signing_key(settings.SERVING_CONFIG_SIGNING_KEY).public_key()]
    else:
        keys = [key.public_key() for key in _derived_keys(settings.ENCRYPTION_KEYS)]
    return {key_id_of(key): key for key in keys}


def _given_keys(texts: Sequence[str]) -> list[Ed25519PublicKey]:
    try:
        return [load_public_key(text.strip()) for text in texts]
    except ValueError as error:
        raise SettingInvalid(
            "SERVING_CONFIG_TRUSTED_KEYS holds what is not a public Ed25519 key.",
            "Write 32 bytes in base64, 44 characters, as doctor prints them on the configuration "
            "node; several are separated by commas.",
        ) from error


def _derived_keys(encryption_keys: Sequence[str]) -> list[Ed25519PrivateKey]:
    SecretBox(encryption_keys)  # says which of them is none
    keys = []
    for key in encryption_keys:
        derivation = HKDF(SHA256(), length=32, salt=None, info=b"serving-config signing key")
        seed = derivation.derive(base64.urlsafe_b64decode(key))
        keys.append(Ed25519PrivateKey.from_private_bytes(seed))
    return keys
