"""Checklist 52 to 57: what Duo Chat's agent asks of a model, and the events it tells."""

import json
from typing import Any

import pytest

from tests.contract.agent_calls import (
    PATH,
    TOOL_SCOPES,
    after,
    answer_of,
    ask,
    http_chunks,
    question,
    says,
    step,
    told,
    tools_offered,
    user,
)
from tests.contract.house import House, Model
from tests.e2e.callers import Call, leaving_client
from tests.fakes.model_server import Script

CLOSED_WITHIN_S = 2.0
LATEST = ["build_reader", "epic_reader", "issue_reader", "merge_request_reader"]
DOCS = "gitlab_documentation"


# --- Events --------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_bytes", [None, 1])
def test_final_answer_comes_in_pieces_that_join_to_it(
    allowing: House, model: Model, piece_bytes: int | None
) -> None:
    said = ("I know.\nFinal Ans", "wer: C", "ontinuous é", " integration\n")
    model.answers(says(*said, piece_bytes=piece_bytes))

    response = ask(allowing, question(model))

    assert response.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    events = told(response)
    assert len(events) > 1
    assert answer_of(events) == "Continuous é integration"


def test_action_is_one_line(allowing: House, model: Model) -> None:
    model.answers(says("Read it.\nAction: issue", "_reader\nAction Input: issue 5\n"))

    events = told(ask(allowing, question(model)))

    data = {"tool": "issue_reader", "tool_input": "issue 5", "thought": "Read it."}
    assert events == [{"type": "action", "data": data}]


@pytest.mark.parametrize(
    "tool", ["MergeRequestReader", "merge\\_request\\_reader", "Merge Request Reader"]
)
def test_tool_is_known_however_it_is_written(allowing: House, model: Model, tool: str) -> None:
    model.answers(says(f"Look.\nAction: {tool}\nAction Input: !3"))

    (event,) = told(ask(allowing, question(model)))

    assert (event["type"], event["data"]["tool"]) == ("action", "merge_request_reader")


@pytest.mark.parametrize("tool", ["epic_reader", "gitlab_documentation", "shell", ""])
def test_tool_that_was_not_offered_is_not_available(
    allowing: House, model: Model, tool: str
) -> None:
    model.answers(says(f"Look.\nAction: {tool}\nAction Input: epic 3"))

    events = told(ask(allowing, question(model), "ask_issue"))

    data = {"message": "tool not available", "retryable": False}
    assert events == [{"type": "error", "data": data}]


def test_final_answer_wins_over_an_action(allowing: House, model: Model) -> None:
    model.answers(says("Hm\nAction: issue_reader\nAction Input: q\nFinal Answer: done"))

    assert answer_of(told(ask(allowing, question(model)))) == "done"


@pytest.mark.parametrize("said", ["It builds your code.", " It builds\nyour code. \n", ""])
def test_words_outside_the_format_are_one_unknown(allowing: House, model: Model, said: str) -> None:
    events = told(ask(allowing, question(model.answers(says(said)))))

    assert events == [{"type": "unknown", "data": {"text": said.strip()}}]


def test_empty_final_answer_says_nothing(allowing: House, model: Model) -> None:
    model.answers(says("I know.\nFinal Answer: "))

    response = ask(allowing, question(model))

    assert (response.status_code, response.text) == (200, "")


# --- Framing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        ("Final Answer: one", " two", " three"),
        ("Look.\nAction: issue_reader\nAction Input: issue 5",),
        ("no label at all",),
    ],
    ids=["answer", "action", "unknown"],
)
def test_each_line_is_an_http_chunk_of_its_own(
    allowing: House, model: Model, said: tuple[str, ...]
) -> None:
    headers = allowing.headers(allowing.token("duo_chat", *TOOL_SCOPES))

    body = question(model.answers(says(*said)))
    chunks = http_chunks(allowing.gateway.url + PATH, body, headers)

    assert len(chunks) == len(said)
    assert all(chunk.count(b"\n") == 1 and chunk.endswith(b"\n") for chunk in chunks)
    assert all(json.loads(chunk).keys() == {"type", "data"} for chunk in chunks)


def test_error_after_an_answer_has_begun_is_a_chunk_of_its_own(
    allowing: House, model: Model
) -> None:
    headers = allowing.headers(allowing.token("duo_chat"))
    model.answers(says("Final Answer: one", " two", cut_after=3))

    chunks = http_chunks(allowing.gateway.url + PATH, question(model), headers)

    kinds = [json.loads(chunk)["type"] for chunk in chunks]
    assert kinds == ["final_answer_delta", "final_answer_delta", "error"]


def test_line_leaves_while_the_model_still_speaks(allowing: House, model: Model) -> None:
    model.answers(says("Final Answer: one", " two", stall=2))
    headers = allowing.headers(allowing.token("duo_chat"))

    with allowing.client.stream("POST", PATH, json=question(model), headers=headers) as response:
        lines = response.iter_lines()
        first = json.loads(next(lines))
        was_still_speaking = not model.last.completed.is_set()
        model.last.release()
        rest = [json.loads(line) for line in lines]

    assert was_still_speaking
    assert answer_of([first, *rest]) == "one two"


# --- What is asked of the model ------------------------------------------------------------------


def test_model_is_asked_for_one_step(allowing: House, model: Model) -> None:
    ask(allowing, question(model))

    (asked,) = model.asked
    sent = {name: asked.json[name] for name in ("stop", "temperature", "max_tokens", "stream")}
    assert (asked.path, asked.json["model"]) == ("/v1/chat/completions", "house-model")
    assert asked.headers["authorization"] == "Bearer key-beta"
    assert sent == {
        "stop": ["Observation:"],
        "temperature": 0.1,
        "max_tokens": 4096,
        "stream": True,
    }


@pytest.mark.parametrize(
    ("scopes", "version", "flags", "offered"),
    [
        (TOOL_SCOPES, "18.0.0", None, [*LATEST, DOCS]),
        (TOOL_SCOPES, "18.0.0", "ai_commit_reader_for_chat", [*LATEST, DOCS, "commit_reader"]),
        (TOOL_SCOPES, "18.0.0", "a,ai_commit_reader_for_chat,b", [*LATEST, DOCS, "commit_reader"]),
        (TOOL_SCOPES, "18.0.0", "a, ai_commit_reader_for_chat", [*LATEST, DOCS, "commit_reader"]),
        (TOOL_SCOPES, "18.0.0", "ai_commit_reader", [*LATEST, DOCS]),
        (TOOL_SCOPES, "17.5.0-pre", None, [*LATEST, DOCS]),
        (TOOL_SCOPES, "17.4.0", "ai_commit_reader_for_chat", ["epic_reader", "issue_reader", DOCS]),
        (TOOL_SCOPES, None, None, ["epic_reader", "issue_reader", DOCS]),
        (TOOL_SCOPES, "latest", None, ["epic_reader", "issue_reader", DOCS]),
        (("ask_issue", "ask_build"), "18.0.0", None, ["build_reader", "issue_reader"]),
        (("ask_commit",), "18.0.0", None, []),
        (("complete_code",), "18.0.0", None, []),
    ],
)
def test_model_is_told_of_the_tools_the_caller_may_use(
    allowing: House,
    model: Model,
    scopes: tuple[str, ...],
    version: str | None,
    flags: str | None,
    offered: list[str],
) -> None:
    headers = {"x_gitlab_version": version, "x_gitlab_enabled_feature_flags": flags}

    ask(allowing, question(model), *scopes, **headers)

    assert tools_offered(model) == offered


@pytest.mark.parametrize("family", ["gpt", "claude_3", "codegemma", "general"])
def test_scratchpad_is_what_the_model_goes_on_from(
    allowing: House, model: Model, family: str
) -> None:
    options = after(step(), step(tool="epic\\_reader", thought="and\\_its epic"))

    ask(allowing, question(model, named={"name": family}, options=options))

    last = model.last.json["messages"][-1]
    assert last["role"] == "assistant"
    assert last["content"] == (
        "Thought: read it\nAction: issue_reader\nAction Input: issue 5\n"
        "Observation: author is dana.r\n"
        "Thought: and_its epic\nAction: epic_reader\nAction Input: issue 5\n"
        "Observation: author is dana.r\n"
        "Thought:"
    )


def test_mistral_has_its_thought_before_the_scratchpad(allowing: House, model: Model) -> None:
    first = ask(allowing, question(model))
    begun = model.last.json["messages"][-1]["content"]
    second = ask(allowing, question(model, options=after(step())))
    gone_on = model.last.json["messages"][-1]["content"]

    assert (first.status_code, second.status_code) == (200, 200)
    assert begun.strip() == "Thought:"
    assert gone_on.startswith("Thought: read it\nAction: issue_reader\n")
    assert gone_on.count("Thought:") == 1


def test_history_keeps_its_order_and_roles(allowing: House, model: Model) -> None:
    said = [user("Hi"), {"role": "assistant", "content": "Hello!"}, user("What is CI?")]

    ask(allowing, question(model, *said))

    asked = model.last.json["messages"]
    assert [turn["role"] for turn in asked] == ["system", "user", "assistant", "user", "assistant"]
    assert asked[1:-1] == said


@pytest.mark.parametrize(
    ("attached", "shown"),
    [
        ({"context": {"type": "issue", "content": "Slow login"}}, ["<issue>", "Slow login"]),
        ({"context": {"type": "merge_request", "content": "Fix"}}, ["<merge_request>", "Fix"]),
        (
            {"current_file": {"file_path": "a/b.rb", "data": "x = 1", "selected_code": True}},
            ["a/b.rb", "<code>", "x = 1"],
        ),
        (
            {"current_file": {"file_path": "a/b.rb", "data": "x = 1", "selected_code": False}},
            ["a/b.rb", "<content>", "x = 1"],
        ),
        (
            {"additional_context": [{"category": "file", "id": "f1", "content": "y = 2"}]},
            ["<file", "f1", "y = 2"],
        ),
    ],
)
def test_what_is_attached_stands_before_the_words(
    allowing: House, model: Model, attached: dict[str, Any], shown: list[str]
) -> None:
    body = question(model, user("Explain.", **attached))

    ask(allowing, body, "include_file_context")

    content = model.last.json["messages"][-2]["content"]
    places = [content.index(part) for part in [*shown, "Explain."]]
    assert places == sorted(places)
    assert content.endswith("\nExplain.")


@pytest.mark.parametrize(
    ("changes", "is_told"),
    [
        ({}, "Merge Requests, Pipelines, Vulnerabilities"),
        ({"unavailable_resources": ["Wikis", "Snippets"]}, "Wikis, Snippets"),
        ({"unavailable_resources": []}, ""),
        ({"unavailable_resources": None}, ""),
    ],
)
def test_model_is_told_what_it_cannot_read(
    allowing: House, model: Model, changes: dict[str, Any], is_told: str
) -> None:
    ask(allowing, question(model, **changes))

    system = model.last.json["messages"][0]["content"]
    assert ("You cannot read" in system) == bool(is_told)
    assert is_told in system


def test_own_registered_model_answers_where_none_is_named(registering: House) -> None:
    registering.models.path("chat", says("Final Answer: yes"))

    response = ask(registering, question())

    assert answer_of(told(response)) == "yes"
    asked = registering.models.exchanges_at("chat")[-1]
    assert asked.json["model"] == "chat-model"
    assert asked.headers["authorization"] == "Bearer stored-key-of-chat"


# --- Leaving -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        Script(stall="before_headers"),
        Script(stall="after_headers"),
        says("Final Answer: x", "y", stall=2),
    ],
    ids=["before the headers", "before the first word", "after some words"],
)
def test_client_that_leaves_closes_the_connection_to_the_model(
    allowing: House, model: Model, script: Script
) -> None:
    call = Call(PATH, "duo_chat", "duo_chat", question(model.answers(script)))
    headers = allowing.headers(allowing.token("duo_chat"))

    with leaving_client(allowing.gateway.url, call, headers, stream=True):
        exchange = allowing.models.wait_for_request(base=model.name)
        was_open = not exchange.closed_by_peer.is_set()

    assert was_open
    assert exchange.closed_by_peer.wait(CLOSED_WITHIN_S)
