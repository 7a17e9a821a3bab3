"""Context beside the words it belongs to."""

from typing import Any

import pytest

from gateway.agent.messages import scratchpad, with_context
from gateway.schemas.agent import AgentMessage, AgentStep

FILE = {"file_path": "app/cart.rb", "data": "def total\nend", "selected_code": False}
ISSUE = {"type": "issue", "content": "The login is slow."}
EXTRA = {"category": "file", "id": "f1", "content": "x = 1"}


def message(content: str = "Explain.", role: str = "user", **attached: Any) -> AgentMessage:
    return AgentMessage.model_validate({"role": role, "content": content, **attached})


def shown(**attached: Any) -> str:
    (told,) = with_context([message(**attached)])
    assert told["role"] == "user"
    return told["content"]


def test_messages_keep_their_order_and_roles() -> None:
    said = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "Bye")]

    told = with_context([message(content, role) for role, content in said])

    assert [(turn["role"], turn["content"]) for turn in told] == said


@pytest.mark.parametrize("content", ["", " ", "a\n\nb", "</issue>", "{{ 7 * 7 }}"])
def test_words_with_nothing_attached_are_untouched(content: str) -> None:
    assert with_context([message(content)]) == [{"role": "user", "content": content}]


@pytest.mark.parametrize("kind", ["issue", "epic", "merge_request", "commit", "build"])
def test_page_is_tagged_by_its_kind(kind: str) -> None:
    told = shown(context={"type": kind, "content": "The login is slow."})

    assert told == f"<{kind}>\nThe login is slow.\n</{kind}>\nExplain."


@pytest.mark.parametrize(("selected", "tag"), [(True, "code"), (False, "content")])
def test_open_file_says_whether_it_is_a_selection(selected: bool, tag: str) -> None:
    told = shown(current_file={**FILE, "selected_code": selected})

    assert told == (
        f'<current_file path="app/cart.rb">\n<{tag}>\ndef total\nend\n</{tag}>\n</current_file>\n'
        "Explain."
    )


@pytest.mark.parametrize(
    ("item", "block"),
    [
        (EXTRA, '<file id="f1">\nx = 1\n</file>'),
        ({"category": "snippet", "content": "y"}, "<snippet>\ny\n</snippet>"),
        ({"category": "issue", "id": ""}, "<issue>\n\n</issue>"),
        ({"category": "local_git", "id": None, "content": None}, "<local_git>\n\n</local_git>"),
        (
            {"category": "dependency", "content": "z", "metadata": {"secret": 1}},
            "<dependency>\nz\n</dependency>",
        ),
    ],
)
def test_additional_context_is_tagged_by_its_category(item: dict[str, Any], block: str) -> None:
    assert shown(additional_context=[item]) == f"{block}\nExplain."


def test_all_that_is_attached_comes_in_order_before_the_words() -> None:
    told = shown(context=ISSUE, current_file=FILE, additional_context=[EXTRA, EXTRA])

    tags = ["<issue>", "<current_file", "<content>", "<file ", "Explain."]
    places = [told.index(tag) for tag in tags]
    assert places == sorted(places)
    assert told.count("<file ") == 2
    assert told.endswith("\nExplain.")


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_a_users_words_have_context(role: str) -> None:
    said = message("Hm.", role, context=ISSUE, current_file=FILE, additional_context=[EXTRA])

    assert with_context([said]) == [{"role": role, "content": "Hm."}]


def test_each_message_has_its_own_context() -> None:
    told = with_context([message("One.", context=ISSUE), message("Two.")])

    assert told[0]["content"].startswith("<issue>")
    assert told[1]["content"] == "Two."


def test_resource_content_is_not_shown() -> None:
    assert shown(resource_content="hidden") == "Explain."


def test_escaped_underscores_of_thought_and_tool_are_plain() -> None:
    taken = {"thought": "a\\_b", "tool": "issue\\_reader", "tool_input": "c\\_d"}
    step = AgentStep.model_validate({**taken, "observation": "e\\_f"})

    assert scratchpad([step]) == [
        {
            "thought": "a_b",
            "tool": "issue_reader",
            "tool_input": "c\\_d",
            "observation": "e\\_f",
        }
    ]


def test_steps_keep_their_order() -> None:
    steps = [
        AgentStep(thought=f"t{number}", tool="x", tool_input="", observation="")
        for number in range(3)
    ]

    assert [step["thought"] for step in scratchpad(steps)] == ["t0", "t1", "t2"]
    assert scratchpad([]) == []
