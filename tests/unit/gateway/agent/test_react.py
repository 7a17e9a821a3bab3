"""Model outputs, real and made up, and the events they mean; however the stream is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agent.react import (
    Action,
    AgentEvent,
    FinalAnswerDelta,
    ReActParser,
    Unknown,
    normalise_tool,
)

#: What a model said -> the answer its deltas join to, or the one other event.
OUTPUTS: dict[str, tuple[str, str | Action | Unknown]] = {
    "as taught": ("I know.\nFinal Answer: CI builds code.", "CI builds code."),
    "answer over several lines": (
        "Fine.\nFinal Answer: First:\n\n- one\n- two\n",
        "First:\n\n- one\n- two",
    ),
    "answer wins over an action": (
        "Hm\nAction: issue_reader\nAction Input: q\nFinal Answer: done",
        "done",
    ),
    "label in bold": ("**Final Answer:** yes, it is", "yes, it is"),
    "label in bold, colon outside": ("**Final Answer**: yes, it is", "yes, it is"),
    "answer begins in bold": ("Final Answer: **CI** builds", "**CI** builds"),
    "label in lower case": ("i know\nfinal answer: ok", "ok"),
    "label on the line of the thought": ("I know it. Final Answer: ok", "ok"),
    "a thought after the answer": ("Final Answer: ok\nThought: was that right?", "ok"),
    "an observation after the answer": ("Final Answer: ok\n\nObservation: none", "ok"),
    "words that only look like a label": (
        "Final Answer: x\nObservation is key\nThoughtful people\nAction plan: none",
        "x\nObservation is key\nThoughtful people\nAction plan: none",
    ),
    "code in the answer": (
        "Final Answer: Run:\n```\ngit rebase\n```",
        "Run:\n```\ngit rebase\n```",
    ),
    "not ASCII": ("Final Answer: naïve 🙂 日本", "naïve 🙂 日本"),
    "empty answer": ("Final Answer: ", ""),
    "action": (
        "I must read it.\nAction: issue_reader\nAction Input: issue 5",
        Action("issue_reader", "issue 5", "I must read it."),
    ),
    "missing newlines": (
        "Read it. Action: issue_reader Action Input: issue 5",
        Action("issue_reader", "issue 5", "Read it."),
    ),
    "fences round an action": (
        "Read it.\n```\nAction: issue_reader\nAction Input: issue 5\n```",
        Action("issue_reader", "issue 5", "Read it."),
    ),
    "fences with a word": (
        "```text\nAction: issue_reader\nAction Input: issue 5\n```\n",
        Action("issue_reader", "issue 5", ""),
    ),
    "escaped underscore": (
        "Action: issue\\_reader\nAction Input: 5",
        Action("issue_reader", "5", ""),
    ),
    "tool in CamelCase": (
        "Action: MergeRequestReader\nAction Input: !3",
        Action("merge_request_reader", "!3", ""),
    ),
    "tool with spaces, labels in bold": (
        "**Action:** `Issue Reader`\n**Action Input:** 5",
        Action("issue_reader", "5", ""),
    ),
    "an invented observation": (
        "Action: epic_reader\nAction Input: &2\nObservation: The epic says …",
        Action("epic_reader", "&2", ""),
    ),
    "a second step": (
        "Action: epic_reader\nAction Input: &2\nThought: now the next",
        Action("epic_reader", "&2", ""),
    ),
    "the thought is labelled": (
        "Thought: read it\nAction: epic_reader\nAction Input: &2",
        Action("epic_reader", "&2", "read it"),
    ),
    "input over several lines": (
        "Action: gitlab_documentation\nAction Input: runner\ncache",
        Action("gitlab_documentation", "runner\ncache", ""),
    ),
    "no label at all": ("CI builds your code.", Unknown("CI builds your code.")),
    "an action without its input": (
        "Action: issue_reader",
        Unknown("Action: issue_reader"),
    ),
    "nothing": ("", Unknown("")),
}


def _events(pieces: list[str]) -> list[AgentEvent]:
    parser = ReActParser()
    events: list[AgentEvent] = [event for piece in pieces for event in parser.feed(piece)]
    return [*events, *parser.finish()]


def _meaning(events: list[AgentEvent]) -> str | AgentEvent:
    others = [event for event in events if not isinstance(event, FinalAnswerDelta)]
    assert len(others) <= 1
    if others:
        assert len(events) == 1
        return others[0]
    return "".join(event.text for event in events if isinstance(event, FinalAnswerDelta))


@pytest.mark.parametrize("piece_chars", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("said", "meaning"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_output_means(said: str, meaning: str | AgentEvent, piece_chars: int) -> None:
    pieces = [said[start : start + piece_chars] for start in range(0, len(said), piece_chars)]

    assert _meaning(_events(pieces)) == meaning


def test_an_answer_is_handed_out_while_it_grows() -> None:
    parser = ReActParser()

    deltas = [list(parser.feed(piece)) for piece in ("Final Answer: C", "ontin", "uous")]

    assert deltas == [
        [FinalAnswerDelta("C")],
        [FinalAnswerDelta("ontin")],
        [FinalAnswerDelta("uous")],
    ]


@given(
    st.text(alphabet="ab \n*:`TthougActin", max_size=60),
    st.lists(st.integers(1, 9), max_size=30),
)
def test_cutting_the_stream_elsewhere_never_changes_the_answer(
    answer: str, cuts: list[int]
) -> None:
    said = "Final Answer: " + answer
    pieces, start = [], 0
    for length in cuts:
        pieces.append(said[start : start + length])
        start += length
    pieces.append(said[start:])

    assert _meaning(_events(pieces)) == _meaning(_events([said]))


@pytest.mark.parametrize(
    "name",
    [
        "issue_reader",
        "IssueReader",
        "issue reader",
        "Issue-Reader",
        "`issue\\_reader`",
        "[IssueReader]",
    ],
)
def test_a_tool_is_known_however_it_is_written(name: str) -> None:
    assert normalise_tool(name) == "issue_reader"


@pytest.mark.parametrize(
    "said",
    ["Action:" + " " * 60_000, "action: " * 8_000, "Action: x\n" * 6_000, "**" * 30_000],
    ids=["blanks", "labels", "lines", "stars"],
)
def test_an_answer_made_to_be_slow_is_read_all_the_same(said: str) -> None:
    events = _events([said])

    assert len(events) == 1
