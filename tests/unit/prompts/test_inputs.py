from typing import Any

import pytest

from prompts.definition import InputSpec, InputType
from prompts.errors import InputInvalid
from prompts.inputs import check_input
from selfhosted_models.serving_formats.base import Message


def spec(kind: InputType, **facts: Any) -> InputSpec:
    defaults = {"is_required": False, "default": None, "max_chars": None, "max_items": None}
    return InputSpec(name="given", type=kind, **(defaults | facts))


@pytest.mark.parametrize(
    ("kind", "empty"),
    [
        (InputType.STRING, ""),
        (InputType.LIST, ()),
        (InputType.MESSAGES, ()),
        (InputType.OBJECT, {}),
    ],
)
def test_none_is_the_empty_value_of_its_type(kind: InputType, empty: object) -> None:
    assert check_input(spec(kind), None) == empty


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (InputType.STRING, "text", "text"),
        (InputType.STRING, 42, "42"),
        (InputType.LIST, ["a", {"b": 1}], ("a", {"b": 1})),
        (InputType.LIST, "a, b", ("a, b",)),
        (InputType.LIST, "", ()),
        (InputType.OBJECT, {"a": [1]}, {"a": [1]}),
        (InputType.MESSAGES, [Message("user", "hi")], (Message("user", "hi"),)),
        (
            InputType.MESSAGES,
            [{"role": "user", "content": "hi", "id": 7}, {"role": "assistant", "content": None}],
            (Message("user", "hi"), Message("assistant", "")),
        ),
    ],
)
def test_value_of_the_right_type_is_taken(kind: InputType, value: Any, expected: object) -> None:
    assert check_input(spec(kind), value) == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (InputType.STRING, ["text"]),
        (InputType.STRING, True),
        (InputType.STRING, b"text"),
        (InputType.LIST, 42),
        (InputType.LIST, {"a": 1}),
        (InputType.OBJECT, []),
        (InputType.MESSAGES, "hi"),
        (InputType.MESSAGES, {"role": "user", "content": "hi"}),
    ],
)
def test_value_of_another_type_is_refused(kind: InputType, value: Any) -> None:
    with pytest.raises(InputInvalid, match=f"'given' must be of type {kind}"):
        check_input(spec(kind), value)


@pytest.mark.parametrize(
    "message",
    [
        "hi",
        {"role": "boss", "content": "hi"},
        {"role": ["user"], "content": "hi"},
        {"role": "user"},
    ],
)
def test_bad_message_is_refused_by_its_number(message: Any) -> None:
    good = {"role": "user", "content": "hi"}

    with pytest.raises(InputInvalid, match="in message 2"):
        check_input(spec(InputType.MESSAGES), [good, message])


def test_required_conversation_must_not_be_empty() -> None:
    with pytest.raises(InputInvalid, match="at least one message"):
        check_input(spec(InputType.MESSAGES, is_required=True), [])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (InputType.STRING, "12345"),
        (InputType.LIST, ["12", {"34": "5"}]),
        (InputType.MESSAGES, [{"role": "user", "content": "12345"}]),
    ],
)
def test_too_much_text_is_refused(kind: InputType, value: Any) -> None:
    with pytest.raises(InputInvalid, match="has 5 characters, more than 4"):
        check_input(spec(kind, max_chars=4), value)


@pytest.mark.parametrize("value", [1, 20, "1", "20"], ids=repr)
def test_whole_number_may_come_as_text(value: Any) -> None:
    assert check_input(spec(InputType.INTEGER, max_value=20), value) == int(value)


def test_integer_that_is_null_has_its_default() -> None:
    assert check_input(spec(InputType.INTEGER, default=3), None) == 3


@pytest.mark.parametrize(
    "value", [0, 21, -1, "0", "21", "-1", "", "three", 2.5, True, None, [3], "9" * 500], ids=repr
)
def test_what_is_no_number_within_the_limit_is_refused(value: Any) -> None:
    with pytest.raises(InputInvalid, match="'given' must be a whole number from 1 to 20"):
        check_input(spec(InputType.INTEGER, max_value=20), value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (InputType.STRING, "ELF\0\1"),
        (InputType.LIST, ["a", {"b": "\0"}]),
        (InputType.OBJECT, {"\0": 1}),
        (InputType.MESSAGES, [{"role": "user", "content": "\0"}]),
    ],
)
def test_binary_data_is_refused(kind: InputType, value: Any) -> None:
    with pytest.raises(InputInvalid, match="Input 'given' holds a NUL character"):
        check_input(spec(kind), value)


def test_too_many_items_are_refused() -> None:
    with pytest.raises(InputInvalid, match="has 3 items, more than 2"):
        check_input(spec(InputType.LIST, max_items=2), ["a", "b", "c"])


def test_refusal_never_repeats_the_value() -> None:
    with pytest.raises(InputInvalid) as caught:
        check_input(spec(InputType.OBJECT), "secret words")

    assert "secret" not in caught.value.safe_message
