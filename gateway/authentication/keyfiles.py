"""Keys that are made once, on first use, and kept in DATA_DIR."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

RSA_BITS = 2048


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """Return the text in `path`; a missing file is written first, readable by the owner alone.

    Several processes may start at once: the first to link its file wins, the others read it.

    Raises:
        OSError: It can be neither read nor written.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
        try:
            os.link(own, path)
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return path.read_text().strip()


def make_secret_key() -> str:
    return secrets.token_urlsafe(64)


def make_fernet_key() -> str:
    return Fernet.generate_key().decode()


def make_signing_key() -> str:
    """Return a new RSA key as PEM."""
    return _pem_of(rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS))


def make_ed25519_key() -> str:
    """Return a new Ed25519 key as PEM."""
    return _pem_of(ed25519.Ed25519PrivateKey.generate())


def _pem_of(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
