"""The Ed25519 keys of documentation indexes: one signs what is published, some are trusted."""

import base64
import binascii
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from docsearch.errors import KeyInvalid


def load_signing_key(pem: str) -> Ed25519PrivateKey:
    r"""Return the private key in `pem`, whose line ends may be written as `\n`.

    Raises:
        KeyInvalid: It holds none. The message repeats nothing of it.
    """
    try:
        key = load_pem_private_key(pem.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyInvalid(
            "DOCS_SIGNING_KEY is not a private Ed25519 key. Give the whole PEM text, as "
            "`openssl genpkey -algorithm ed25519` prints it, or unset it: one is made then."
        ) from None
    return key


def load_trusted_keys(texts: Iterable[str]) -> frozenset[str]:
    """Return the public keys as `public_text` writes them.

    Raises:
        KeyInvalid: One of them is none.
    """
    trusted = set()
    for number, text in enumerate(texts, start=1):
        try:
            trusted.add(public_text(load_public_key(text.strip())))
        except ValueError:
            raise KeyInvalid(
                f"DOCS_TRUSTED_KEYS: key {number} is not a public Ed25519 key in base64, 44 "
                "characters, as build_docs_index and publish_docs_index print it."
            ) from None
    return frozenset(trusted)


def load_public_key(text: str) -> Ed25519PublicKey:
    """Return the key that `public_text` wrote.

    Raises:
        ValueError: `text` is none.
    """
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError("not base64") from error


def public_text(key: Ed25519PublicKey) -> str:
    """Return the key as settings and manifests hold it: 32 bytes in base64."""
    return base64.b64encode(key.public_bytes_raw()).decode()
