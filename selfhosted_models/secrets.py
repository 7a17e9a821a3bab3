"""Secrets at rest and in memory.

At rest a secret is a Fernet token bound to its row; in memory it is a `Secret`, which shows `***`
wherever a careless line might print it.
"""

import hmac
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from selfhosted_models.errors import SecretUnavailable, SettingInvalid

#: What an API key may hold: a header carries it.
API_KEY_PATTERN = re.compile(r"[\x21-\x7e]{1,2000}")
FINGERPRINT_CHARS = 16
_UNREADABLE = (
    "A stored key cannot be decrypted: restore the ENCRYPTION_KEYS it was saved with, or enter the "
    "key again."
)


class Secret:
    """A secret string. `reveal()` is for the one line that sends it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def equals(self, value: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self._value.encode(), value.encode())

    def fingerprint(self, *, keyed_by: str) -> str:
        """Return a name for it that tells no more than whether two secrets are the same."""
        keyed = f"selfhosted_models.secret:{keyed_by}".encode()
        return hmac.digest(keyed, self._value.encode(), "sha256").hex()[:FINGERPRINT_CHARS]

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), ("***",)


class SecretBox:
    """Encrypts with the newest key, decrypts with any of them.

    Args:
        keys: ENCRYPTION_KEYS: Fernet keys, newest first.

    Raises:
        SettingInvalid: One of them is none.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernets = _fernets(keys)
        self._fernet = MultiFernet(self._fernets)

    def encrypt(self, value: str, *, context: str) -> str:
        """Return a token that `decrypt` opens only with the same `context` (table, column, row)."""
        return self._fernet.encrypt(json.dumps([context, value]).encode()).decode()

    def encrypt_again(self, secret: Secret, *, context: str) -> str:
        """Return a token of a secret that was decrypted, for another row."""
        return self.encrypt(secret.reveal(), context=context)

    def rotate(self, token: str) -> str:
        """Return the same secret of the same row, encrypted with the newest key.

        Raises:
            SecretUnavailable: No key opens it.
        """
        try:
            return self._fernet.rotate(token).decode()
        except InvalidToken as exc:
            raise SecretUnavailable(_UNREADABLE) from exc

    def key_number_of(self, token: str) -> int | None:
        """Return which key opens `token`, 1 is the newest; None if no key does."""
        for number, fernet in enumerate(self._fernets, start=1):
            with suppress(InvalidToken):
                fernet.decrypt(token)
                return number
        return None

    def decrypt(self, token: str, *, context: str) -> Secret:
        """Return the secret in `token`.

        Raises:
            SecretUnavailable: No key opens it, or it belongs to another row.
        """
        try:
            owner, value = json.loads(self._fernet.decrypt(token.encode()))
        except (InvalidToken, TypeError, ValueError) as exc:  # the latter: something else's token
            raise SecretUnavailable(_UNREADABLE) from exc
        if owner != context:
            raise SecretUnavailable(
                "A stored key belongs to another deployment: enter the key again."
            )
        return Secret(value)


def _fernets(keys: Sequence[str]) -> list[Fernet]:
    good, bad = [], []
    for number, key in enumerate(keys, start=1):
        try:
            good.append(Fernet(key))
        except ValueError:  # its own words are left out: they may hold a part of the key
            bad.append(f"key {number}")
    if bad or not good:
        told = ", ".join(f"{name} is not a Fernet key" for name in bad) or "there is none"
        raise SettingInvalid(
            f"ENCRYPTION_KEYS: {told}.",
            "A Fernet key is 32 bytes in URL-safe base64, 44 characters. Make one with: "
            'python -c "from cryptography.fernet import Fernet; '
            'print(Fernet.generate_key().decode())"',
        )
    return good
