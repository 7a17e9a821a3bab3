"""Every secret this node knows, to keep them out of what people pass on."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

MASK = "***"
#: Shorter ones would mask ordinary words.
LEAST_CHARS = 6

_URLS = ("DATABASE_URL", "REDIS_URL")
#: Settings and variables; trusted keys are public.
_NAME = re.compile(r"(?<!TRUSTED_)(KEYS?|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")
#: What looks like one, whosever it is.
_SHAPES = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # a JWT
    r"|(?i:bearer)\s+[\x21-\x7e]{8,}"
    r"|\bsk-[A-Za-z0-9_-]{8,}|\bgl[a-z]{2,6}-[A-Za-z0-9_-]{12,}"
    r"|gAAAAA[A-Za-z0-9_=-]{20,}"  # a Fernet token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|://[^\s/@:]*:[^\s/@]+@"  # a URL with a password
)


@dataclass(frozen=True, slots=True)
class KnownSecrets:
    """Values that must not be shown."""

    values: tuple[str, ...]

    @classmethod
    def of_settings(cls, settings: Any, further: Iterable[str] = ()) -> "KnownSecrets":
        """Return what the settings and the environment hold, and `further` values."""
        values = (*_of(settings), *further)
        spelt = (spelling for value in values for spelling in _spellings(value))
        found = {value for value in spelt if len(value) >= LEAST_CHARS}
        return cls(tuple(sorted(found, key=len, reverse=True)))

    def masked(self, text: str) -> str:
        """Return `text` with a mask in the place of each secret."""
        for value in self.values:
            text = text.replace(value, MASK)
        return _SHAPES.sub(MASK, text)

    def holds(self, text: str) -> bool:
        """Tell whether a secret is in `text`."""
        return any(value in text for value in self.values) or bool(_SHAPES.search(text))


def _of(settings: Any) -> Iterator[str]:
    for name in filter(_NAME.search, dir(settings)):
        try:
            value = getattr(settings, name)
        except ImproperlyConfigured:  # Django's word for an empty SECRET_KEY
            continue
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, str))
    for name in _URLS:
        yield from _passwords(getattr(settings, name))
    for name, value in os.environ.items():
        if _NAME.search(name.upper()):
            yield value


def _spellings(value: str) -> Iterator[str]:
    """Yield a secret as it is, as JSON has it, and line by line where it has several."""
    yield value
    yield json.dumps(value)[1:-1]
    lines = value.replace("\\n", "\n").splitlines()
    if len(lines) > 1:
        yield from (line for line in lines if not line.startswith("-----"))


def _passwords(url: str) -> Iterator[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
