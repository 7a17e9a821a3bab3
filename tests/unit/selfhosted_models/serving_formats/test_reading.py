from typing import Any

import pytest

from selfhosted_models.serving_formats.base import ErrorReported, FormatError
from selfhosted_models.serving_formats.reading import (
    names_in,
    read_count,
    read_finish_reason,
    read_text,
)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (0, 0),
        (7, 7),
        (-1, None),
        (True, None),
        (7.5, None),
        ("7", None),
        (None, None),
        ([7], None),
        (10**30, None),
    ],
    ids=str,
)
def test_count_is_a_natural_number_or_not_given(value: object, count: int | None) -> None:
    assert read_count(value) == count


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (None, None),
        ("stop", "stop"),
        ("eos", "stop"),
        ("word", "stop"),
        ("eos_token", "stop"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        ("limit", "length"),
        ("model_length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_calls"),
        ("what nobody has heard of", "stop"),
    ],
)
def test_finish_reason_is_one_of_a_few(said: object, reason: str | None) -> None:
    assert read_finish_reason(said) == reason


@pytest.mark.parametrize("said", ["error", "abort"])
def test_answer_that_failed_is_an_error(said: str) -> None:
    with pytest.raises(ErrorReported):
        read_finish_reason(said)


def test_text_may_be_missing_and_is_nothing_else() -> None:
    assert (read_text(None), read_text("a")) == ("", "a")
    with pytest.raises(FormatError):
        read_text(7)


def test_names_are_listed_once_and_in_order() -> None:
    items: list[dict[str, Any]] = [
        {"id": "b"},
        {"id": "a"},
        {"id": "b"},
        {"id": ""},
        {"id": None},
        {},
    ]

    assert names_in(items, "id") == ("b", "a")
