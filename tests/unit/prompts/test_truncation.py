from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.definition import Keep, TruncationRule
from prompts.truncation import cap_values, free_tokens
from selfhosted_models.serving_formats.base import Message, Role

SYSTEM, OLD, OLD_ANSWER = (
    Message("system", "be kind"),
    Message("user", "old question"),
    Message("assistant", "old answer"),
)
NEW, NEW_ANSWER, LAST = (
    Message("user", "new question"),
    Message("assistant", "new answer"),
    Message("user", "last question"),
)
TALK = (SYSTEM, OLD, OLD_ANSWER, NEW, NEW_ANSWER, LAST)


def cap(value: Any, keep: Keep, limit: int) -> Any:
    return cap_values({"it": value}, [TruncationRule("it", keep, limit)])["it"]


def test_cap_keeps_the_start() -> None:
    assert cap("abcdefgh", Keep.START, 1) == "abc"


def test_cap_keeps_the_end() -> None:
    assert cap("abcdefgh", Keep.END, 1) == "fgh"


def test_cap_drops_last_items_of_a_list() -> None:
    assert cap(("one", "two", {"and": "three"}), Keep.START, 2) == ("one", "two")


def test_cap_drops_first_items_of_a_list() -> None:
    assert cap(("one", "two", {"and": "three"}), Keep.END, 3) == ({"and": "three"},)


@pytest.mark.parametrize("keep", [Keep.START, Keep.END])
def test_the_last_object_of_a_list_loses_the_end_of_its_longest_text(keep: Keep) -> None:
    found = {"a": "it", "b": "x" * 16 + "y" * 160, "n": 7}

    assert cap((found,), keep, 9) == ({**found, "b": "x" * 16},)
    assert cap((found, {"c": "d"}, found), keep, 9) == ({**found, "b": "x" * 16},)


def test_an_object_goes_when_its_longest_text_is_not_enough() -> None:
    assert cap(({"a": "it", "b": "x"},), Keep.START, 3) == ()
    assert cap(({"a": 1, "b": [2]},), Keep.START, 1) == ()


def test_a_text_in_a_list_goes_whole() -> None:
    assert cap(("a" * 100,), Keep.START, 5) == ()


def test_value_within_its_cap_is_the_very_same() -> None:
    assert cap("abc", Keep.START, 1) == "abc"


def test_oldest_turn_goes_first_with_its_answer_and_system_stays() -> None:
    assert cap(TALK, Keep.NEWEST, 40) == (SYSTEM, NEW, NEW_ANSWER, LAST)


def test_last_question_and_system_never_go() -> None:
    assert cap(TALK, Keep.NEWEST, 1) == (SYSTEM, LAST)


def test_answer_begun_after_the_last_question_stays() -> None:
    begun = Message("assistant", "begun")

    assert cap((*TALK, begun), Keep.NEWEST, 1) == (SYSTEM, LAST, begun)


def test_without_a_question_the_last_message_stays() -> None:
    assert cap((OLD_ANSWER, NEW_ANSWER), Keep.NEWEST, 1) == (NEW_ANSWER,)


def test_no_messages_are_no_trouble() -> None:
    assert cap((), Keep.NEWEST, 1) == ()


def test_the_first_rule_is_cut_first() -> None:
    rules = [TruncationRule("b", Keep.START, None), TruncationRule("a", Keep.START, None)]

    less = free_tokens({"a": "a" * 32, "b": "b" * 32}, rules, 5)

    assert less == {"a": "a" * 32, "b": "b" * 16}


def test_the_next_rule_is_cut_when_the_first_has_no_more() -> None:
    rules = [TruncationRule("b", Keep.START, None), TruncationRule("a", Keep.END, None)]

    less = free_tokens({"a": "x" * 16 + "a" * 16, "b": "b" * 32}, rules, 15)

    assert less == {"a": "a" * 16, "b": ""}


@pytest.mark.parametrize("values", [{"a": ""}, {"a": ()}])
def test_nothing_left_to_cut_is_told(values: dict[str, Any]) -> None:
    assert free_tokens(values, [TruncationRule("a", Keep.START, None)], 5) is None


def test_what_no_rule_names_is_never_cut() -> None:
    assert free_tokens({"a": "text"}, [], 5) is None


ROLES: list[Role] = ["system", "user", "assistant"]


@given(
    st.lists(st.builds(Message, st.sampled_from(ROLES), st.text(max_size=40))),
    st.integers(0, 60),
)
def test_dropping_keeps_order_system_and_the_last_question(talk: list[Message], limit: int) -> None:
    kept = cap(tuple(talk), Keep.NEWEST, limit)

    remaining = iter(talk)
    assert all(message in remaining for message in kept)
    assert sum(each.role == "system" for each in kept) == sum(
        each.role == "system" for each in talk
    )
    questions = [message for message in talk if message.role == "user"]
    assert not questions or questions[-1] in kept
