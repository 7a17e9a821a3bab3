"""GitLab's feature flags, as its header names them, less what the operator disallows."""

from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from selfhosted_models.errors import SettingInvalid

#: Realm (`self-managed`, `saas`) -> flags that never count as on there.
DisallowedFlags = Mapping[str, frozenset[str]]
_REALMS: TypeAdapter[DisallowedFlags] = TypeAdapter(dict[str, frozenset[str]])


def read_disallowed_flags(text: str) -> DisallowedFlags:
    """Return what AIGW_FEATURE_FLAGS__DISALLOWED_FLAGS says.

    Raises:
        SettingInvalid: It is not a JSON object of lists of texts.
    """
    try:
        return _REALMS.validate_json(text or "{}", strict=True)
    except ValidationError as error:
        raise SettingInvalid(
            "AIGW_FEATURE_FLAGS__DISALLOWED_FLAGS is not a JSON object of lists of texts.",
            'Write realms with their flags: {"self-managed": ["ai_commit_reader_for_chat"]}.',
        ) from error


def enabled_flags(headers: Mapping[str, str], disallowed: DisallowedFlags) -> frozenset[str]:
    """Return the flags that are on for a request."""
    sent = headers.get("x-gitlab-enabled-feature-flags", "").split(",")
    realm = headers.get("X-Gitlab-Realm", "")
    return frozenset(flag.strip() for flag in sent) - disallowed.get(realm, frozenset())
