"""GitLab's feature flags, as its header names them, less what the operator disallows."""

from collections.abc import Mapping

import orjson

#: Realm (`self-managed`, `saas`) -> flags that never count as on there.
DisallowedFlags = Mapping[str, frozenset[str]]


def read_disallowed_flags(text: str) -> DisallowedFlags:
    """Return what AIGW_FEATURE_FLAGS__DISALLOWED_FLAGS says.

    Raises:
        ValueError: It is not a JSON object of lists of texts.
    """
    document = orjson.loads(text or "{}")
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - bad data
    for realm, flags in document.items():
        if not isinstance(flags, list) or not all(isinstance(flag, str) for flag in flags):
            raise ValueError(f"what it says of {realm!r} is not a list of texts")
    return {realm: frozenset(flags) for realm, flags in document.items()}


def enabled_flags(headers: Mapping[str, str], disallowed: DisallowedFlags) -> frozenset[str]:
    """Return the flags that are on for a request."""
    sent = headers.get("x-gitlab-enabled-feature-flags", "").split(",")
    realm = headers.get("X-Gitlab-Realm", "")
    return frozenset(flag.strip() for flag in sent) - disallowed.get(realm, frozenset())
