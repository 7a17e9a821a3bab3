"""The signed note beside an index: which bytes they are, of which version, and who made them.

An index is the same bytes whenever it is built; when it was built stands here only.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from docsearch import schema
from docsearch.errors import ManifestInvalid, SignatureInvalid, VersionInvalid
from docsearch.signing import load_public_key, public_text
from docsearch.versions import GitLabVersion

MAX_INDEX_BYTES = 512 * 1024 * 1024
MAX_MANIFEST_BYTES = 4096

#: Signed with the rest, so that no signature made for something else can be passed off as ours.
_PURPOSE = b"documentation index manifest 1\n"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"version", "schema", "sha256", "size", "created", "key", "signature"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index file is said to be.

    Attributes:
        version: Of GitLab.
        schema: One of `docsearch.schema.VERSIONS`, of whoever built it.
        sha256: Of the file, in lower-case hexadecimal digits.
        size: Of the file, in bytes.
        created: When it was signed, in UTC, to the second.
        key: The public key that signed it, as `signing.public_text` writes it.
    """

    version: GitLabVersion
    schema: int
    sha256: str
    size: int
    created: datetime
    key: str

    @classmethod
    def of(
        cls,
        file: Path,
        version: GitLabVersion,
        key: Ed25519PrivateKey,
        *,
        schema_version: int,
        now: datetime,
    ) -> Self:
        """Describe an index file, to be signed with `key`."""
        return cls(
            version=version,
            schema=schema_version,
            sha256=sha256_of(file),
            size=file.stat().st_size,
            created=now.astimezone(UTC).replace(microsecond=0),
            key=public_text(key.public_key()),
        )

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read a manifest, without a look at its signature.

        Raises:
            ManifestInvalid: It is none.
        """
        fields = _fields_of(text)
        try:
            manifest = cls(
                version=GitLabVersion.parse(fields["version"]),
                schema=fields["schema"],
                sha256=fields["sha256"],
                size=fields["size"],
                created=datetime.fromisoformat(fields["created"]),
                key=fields["key"],
            )
            is_canonical = manifest._signed_fields() == {
                name: fields[name] for name in _FIELDS - {"key", "signature"}
            }
        except (VersionInvalid, ValueError, TypeError, AttributeError) as error:
            raise _not_one("a field has a value it cannot have") from error
        if not is_canonical or not _SHA256.fullmatch(manifest.sha256):
            raise _not_one("a field is not written as it should be")
        if type(manifest.size) is not int or type(manifest.schema) is not int:
            raise _not_one("a number is none")
        if not isinstance(manifest.key, str):
            raise _not_one("its key is no text")
        if not 0 < manifest.size <= MAX_INDEX_BYTES:
            raise _not_one(f"an index has at most {MAX_INDEX_BYTES:,} bytes, and more than none")
        return manifest

    def signed(self, key: Ed25519PrivateKey) -> bytes:
        """Return the text of the manifest, with the signature."""
        signature = base64.b64encode(key.sign(self._signed_bytes())).decode()
        fields = {**self._signed_fields(), "key": self.key, "signature": signature}
        return json.dumps(fields, indent=1).encode() + b"\n"

    def check_signature(self, signature: bytes) -> None:
        """Pass if `signature` was made with the manifest's own key.

        Raises:
            SignatureInvalid: It was not.
        """
        try:
            load_public_key(self.key).verify(signature, self._signed_bytes())
        except (InvalidSignature, ValueError) as error:
            raise SignatureInvalid(
                f"The manifest of GitLab {self.version}'s documentation was changed after it was "
                "signed: its signature does not fit. Fetch it again from whoever published it."
            ) from error

    def _signed_fields(self) -> dict[str, Any]:
        return {
            "version": str(self.version),
            "schema": self.schema,
            "sha256": self.sha256,
            "size": self.size,
            "created": self.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _signed_bytes(self) -> bytes:
        return _PURPOSE + json.dumps(self._signed_fields(), separators=(",", ":")).encode()


def verified_manifest(text: bytes, trusted: frozenset[str]) -> Manifest:
    """Read a manifest that someone trusted signed, for an index this release can search.

    Raises:
        ManifestInvalid: It is none, or of an index this release cannot search.
        SignatureInvalid: It was changed, or a key that is not trusted signed it.
    """
    manifest = Manifest.parse(text)
    if manifest.key not in trusted:
        raise SignatureInvalid(
            f"The manifest of GitLab {manifest.version}'s documentation is signed with the key "
            f"{manifest.key[:50]}, which is not trusted here. If it is its publisher's, add it to "
            "DOCS_TRUSTED_KEYS."
        )
    try:
        signature = base64.b64decode(_fields_of(text)["signature"], validate=True)
    except (ValueError, TypeError) as error:
        raise _not_one("its signature is not base64") from error
    manifest.check_signature(signature)
    if manifest.schema not in schema.VERSIONS:
        raise ManifestInvalid(
            f"The index of GitLab {manifest.version}'s documentation has the form "
            f"{manifest.schema}; this release searches the forms "
            f"{' and '.join(map(str, schema.VERSIONS))}. Build it with this release."
        )
    return manifest


def manifest_path(index: Path) -> Path:
    """Return where the manifest of an index file lies: beside it."""
    return index.with_name(f"{index.name}.manifest.json")


def sha256_of(file: Path) -> str:
    """Return the hash of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _fields_of(text: bytes) -> dict[str, Any]:
    if len(text) > MAX_MANIFEST_BYTES:
        raise _not_one(f"it is longer than {MAX_MANIFEST_BYTES:,} bytes")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _not_one("it is not JSON") from error
    if not isinstance(fields, dict) or fields.keys() != _FIELDS:
        raise _not_one(f"its fields should be {', '.join(sorted(_FIELDS))}")
    return fields


def _not_one(reason: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"The manifest is not one of a documentation index: {reason}. Take it, together with its "
        "index, from build_docs_index or from the package registry."
    )
