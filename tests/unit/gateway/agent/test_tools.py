"""Which tools a caller may use, and what models are told of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agent.react import normalise_tool
from gateway.agent.tools import TOOLS, ChatTool, available_tools

FLAG = "ai_commit_reader_for_chat"
ALL_SCOPES = {tool.unit_primitive for tool in TOOLS}

#: Section 2.5 of the wire contract, in the order models are told: resource, scope, first version.
CONTRACT = {
    "build_reader": ("builds", "ask_build", "17.5.0-pre"),
    "epic_reader": ("epics", "ask_epic", ""),
    "issue_reader": ("issues", "ask_issue", ""),
    "merge_request_reader": ("merge_requests", "ask_merge_request", "17.5.0-pre"),
    "gitlab_documentation": ("documentation answers", "documentation_search", ""),
    "commit_reader": ("commits", "ask_commit", "17.5.0-pre"),
}
SINCE_ALWAYS = ["epic_reader", "issue_reader", "gitlab_documentation"]


def names(scopes: set[str], version: str = "18.0.0", flags: tuple[str, ...] = (FLAG,)) -> list[str]:
    return [tool.name for tool in available_tools(scopes, version, flags)]


def test_tools_are_those_of_the_contract() -> None:
    told = {tool.name: (tool.resource, tool.unit_primitive, tool.since) for tool in TOOLS}

    assert list(told.items()) == list(CONTRACT.items())
    assert {tool.name: tool.feature_flag for tool in TOOLS if tool.feature_flag} == {
        "commit_reader": FLAG
    }


def test_caller_with_everything_has_all_in_order() -> None:
    assert names(ALL_SCOPES) == list(CONTRACT)


@pytest.mark.parametrize(("name", "facts"), CONTRACT.items())
def test_each_tool_needs_its_own_scope_and_no_other(name: str, facts: tuple[str, str, str]) -> None:
    assert names({facts[1]}) == [name]
    assert name not in names(ALL_SCOPES - {facts[1]})


@pytest.mark.parametrize("scopes", [set(), {"duo_chat"}, {"ask_commit "}, {"ASK_ISSUE"}])
def test_other_scopes_give_no_tool(scopes: set[str]) -> None:
    assert names(scopes) == []


@pytest.mark.parametrize("version", ["17.5.0-pre", "17.5.0", "17.5.1", "17.10.0", "18.0", "v18.0"])
def test_newer_version_has_every_tool(version: str) -> None:
    assert names(ALL_SCOPES, version) == list(CONTRACT)


@pytest.mark.parametrize(
    "version",
    [
        "17.4.9",
        "17.4.0",
        "17.5.0.dev1",
        "16.11.3",
        "9.99.0",
        "",
        " ",
        "latest",
        "18.0.0-ee",
        "18.x",
    ],
)
def test_older_or_unreadable_version_has_what_every_version_has(version: str) -> None:
    assert names(ALL_SCOPES, version) == SINCE_ALWAYS


@pytest.mark.parametrize("flags", [(), ("",), ("ai_commit_reader",), (FLAG.upper(),)])
def test_commit_reader_needs_its_flag(flags: tuple[str, ...]) -> None:
    assert names(ALL_SCOPES, flags=flags) == list(CONTRACT)[:-1]


def test_flag_alone_gives_nothing() -> None:
    assert names({"ask_issue"}, flags=(FLAG, "ask_commit")) == ["issue_reader"]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_models_are_told_in_words_of_one_line(tool: ChatTool) -> None:
    told = [tool.name, tool.resource, tool.description, tool.example]

    assert all(text.strip() == text and text and "\n" not in text for text in told)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_name_of_a_tool_is_what_its_spellings_come_to(tool: ChatTool) -> None:
    camel = "".join(word.title() for word in tool.name.split("_"))
    spellings = tool.name, camel, tool.name.title(), tool.name.replace("_", "\\_")

    assert {normalise_tool(spelling) for spelling in spellings} == {tool.name}


@given(st.text(max_size=30), st.lists(st.text(max_size=30), max_size=3))
def test_no_version_and_no_flag_is_too_odd(version: str, flags: list[str]) -> None:
    found = {tool.name for tool in available_tools(ALL_SCOPES, version, flags)}

    assert {*SINCE_ALWAYS} <= found <= {*CONTRACT}
