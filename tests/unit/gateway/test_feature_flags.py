import pytest

from gateway.feature_flags import enabled_flags, read_disallowed_flags
from selfhosted_models.errors import SettingInvalid


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", {}),
        ("{}", {}),
        ('{"self-managed": []}', {"self-managed": frozenset()}),
        ('{"saas": ["a", "b"]}', {"saas": frozenset({"a", "b"})}),
    ],
)
def test_setting_is_read(text: str, read: object) -> None:
    assert read_disallowed_flags(text) == read


@pytest.mark.parametrize("text", ["a", "[]", "7", '{"saas": "a"}', '{"saas": [7]}', '{"saas": {}}'])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SettingInvalid, match="DISALLOWED_FLAGS is not a JSON object"):
        read_disallowed_flags(text)


@pytest.mark.parametrize(
    ("sent", "realm", "on"),
    [
        ("a,b", "self-managed", {"b"}),
        (" a , b ", "self-managed", {"b"}),
        ("a,b", "saas", {"a", "b"}),
        ("a,b", "", {"a", "b"}),
        ("A", "self-managed", {"A"}),
    ],
)
def test_flag_that_is_disallowed_for_the_realm_is_off(sent: str, realm: str, on: set[str]) -> None:
    headers = {"x-gitlab-enabled-feature-flags": sent, "X-Gitlab-Realm": realm}

    assert enabled_flags(headers, {"self-managed": frozenset({"a"})}) == on
