from typing import Any

import pytest

from gateway.configuration.planning import difference


def data(*deployments: dict[str, Any], **features: Any) -> dict[str, Any]:
    return {"version": 1, "deployments": list(deployments), "features": features}


def deployment(name: str = "gpu1", **fields: Any) -> dict[str, Any]:
    return {"name": name, "family": "general", **fields}


def told(before: dict[str, Any], after: dict[str, Any], **renamed: str) -> list[str]:
    return [str(change) for change in difference(before, after, renamed=renamed)]


def test_same_documents_do_not_differ() -> None:
    same = data(deployment(), duo_chat="gpu1")

    assert difference(same, same) == ()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (data(), data(deployment()), "+ deployment gpu1\n    family: general"),
        (data(deployment()), data(), "- deployment gpu1"),
        (
            data(deployment(context_tokens=8192)),
            data(deployment(context_tokens=16384)),
            "~ deployment gpu1\n    context_tokens: 8192 -> 16384",
        ),
        (
            data(deployment()),
            data(deployment(api_key={"env": "KEY", "stored": "ab"})),
            "~ deployment gpu1\n    api_key: (none) -> env KEY, stored ab",
        ),
        (
            data(deployment(is_active=False)),
            data(deployment()),
            "~ deployment gpu1\n    is_active: false -> true",
        ),
        (data(), data(duo_chat="gpu1"), "~ feature duo_chat: unassigned -> gpu1"),
        (
            data(duo_chat="inactive"),
            data(duo_chat=["a", "b"]),
            "~ feature duo_chat: inactive -> a, then b",
        ),
        (data(duo_chat="gpu1"), data(), "~ feature duo_chat: gpu1 -> unassigned"),
        (
            data(duo_chat="gpu1"),
            data(duo_chat={"answered_by": "gpu1", "prompt_version": "~1.0"}),
            "~ feature duo_chat\n    prompt_version: (none) -> ~1.0",
        ),
    ],
)
def test_difference_is_told_field_by_field(
    before: dict[str, Any], after: dict[str, Any], expected: str
) -> None:
    assert told(before, after) == [expected]


def test_renamed_deployment_is_one_change_and_its_features_are_none() -> None:
    before = data(deployment("old"), duo_chat="old", git_suggestions=["old", "other"])
    after = data(deployment("new"), duo_chat="new", git_suggestions=["new", "other"])

    assert told(before, after, old="new") == ["~ deployment new\n    name: old -> new"]


def test_deployment_of_another_name_is_another_one() -> None:
    assert told(data(deployment("old")), data(deployment("new"))) == [
        "+ deployment new\n    family: general",
        "- deployment old",
    ]


def test_words_are_not_names() -> None:
    before = data(deployment("inactive"), duo_chat="inactive")
    after = data(deployment("new"), duo_chat="inactive")

    assert told(before, after, inactive="new") == ["~ deployment new\n    name: inactive -> new"]


def test_change_as_data_has_old_and_new_values() -> None:
    [change] = difference(data(duo_chat="a"), data(duo_chat="b"))

    assert change.to_data() == {
        "action": "changed",
        "kind": "feature",
        "name": "duo_chat",
        "fields": {"answered_by": {"old": "a", "new": "b"}},
    }
