"""What a server tells of itself, as far as it can be used. It is untrusted: names are shown."""

import re
from collections.abc import Iterable

#: As `ModelDeployment` takes them.
_NAME = re.compile(r"[\x21-\x7e]{1,255}")
CONTEXT_BOUNDS_TOKENS = (256, 10_000_000)
MAX_SHOWN = 8


def usable_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that a deployment's model identifier can be."""
    return tuple(name for name in names if _NAME.fullmatch(name))


def usable_context(tokens: int | None) -> int | None:
    """Return a context that a model may have, None for any other."""
    low, high = CONTEXT_BOUNDS_TOKENS
    return tokens if tokens is not None and low <= tokens <= high else None


def listed(names: tuple[str, ...]) -> str:
    """Return names for a sentence; of many, the first."""
    shown = ", ".join(names[:MAX_SHOWN])
    more = len(names) - MAX_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
