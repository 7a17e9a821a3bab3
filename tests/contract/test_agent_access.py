"""Checklist 55 and 56: who may ask Duo Chat's agent, what is refused, and how failures are told."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.agent_calls import (
    PATH,
    after,
    ask,
    question,
    says,
    step,
    the_error,
    told,
    user,
)
from tests.contract.house import House, Model, house
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer, Script

CATEGORIES = ["file", "snippet", "merge_request", "issue", "dependency", "local_git"]


@pytest.fixture(scope="module")
def without_chat(
    gitlab_instance: GitLab, models: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Has Duo Chat switched off."""
    folder = tmp_path_factory.mktemp("without-chat")
    with house(folder, gitlab_instance, models, "allow") as built:
        built.gateway.apply([], {"duo_chat": "inactive"})
        yield built


# --- Who may ask ---------------------------------------------------------------------------------


def test_missing_scope_is_refused(allowing: House, model: Model) -> None:
    token = allowing.token("complete_code", "ask_issue")

    response = allowing.post(PATH, question(model), token=token)

    assert (response.status_code, response.json()["detail"]) == (
        403,
        "Unauthorized to access duo chat",
    )
    assert model.asked == []


def test_token_issued_to_a_user_is_refused(allowing: House, model: Model) -> None:
    response = allowing.post(PATH, question(model), token=allowing.own_token())

    assert response.status_code == 403
    assert model.asked == []


@pytest.mark.parametrize("category", CATEGORIES)
def test_attached_context_needs_its_own_scope(allowing: House, model: Model, category: str) -> None:
    attached = [{"category": category, "id": "1", "content": "x"}]
    body = question(model, user(additional_context=attached))

    refused = ask(allowing, body)
    accepted = ask(allowing, body, f"include_{category}_context")

    detail = f"Unauthorized to access include_{category}_context"
    assert (refused.status_code, refused.json()["detail"]) == (403, detail)
    assert accepted.status_code == 200
    assert len(model.asked) == 1


def test_context_of_an_earlier_message_needs_its_scope_too(allowing: House, model: Model) -> None:
    attached = [
        {"category": "file", "content": "x"},
        {"category": "issue", "content": "y"},
    ]
    history = [user(additional_context=attached), {"role": "assistant", "content": "Hm."}, user()]

    response = ask(allowing, question(model, *history), "include_file_context")

    assert response.status_code == 403
    assert "include_issue_context" in response.json()["detail"]


@pytest.mark.parametrize("named", [True, False])
def test_inactive_feature_is_refused(without_chat: House, model: Model, named: bool) -> None:
    response = ask(without_chat, question(model if named else None))

    assert (response.status_code, response.json()["code"]) == (403, "feature_inactive")
    assert model.asked == []


def test_unassigned_feature_says_what_to_do(allowing: House) -> None:
    response = ask(allowing, question())

    assert (response.status_code, response.json()["code"]) == (503, "deployment_missing")
    assert "assigns a deployment" in response.json()["detail"]


# --- Bodies that are refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"options": {}}, ["options", "agent_scratchpad"]),
        (
            {"options": {"agent_scratchpad": {"agent_type": "plan", "steps": []}}},
            ["options", "agent_scratchpad", "agent_type"],
        ),
        (
            {"options": after({"thought": "x"})},
            ["options", "agent_scratchpad", "steps", 0, "tool"],
        ),
        ({"messages": None}, ["messages"]),
        ({"messages": [{"role": "tool", "content": "x"}]}, ["messages", 0, "role"]),
        ({"messages": [{"role": "user"}]}, ["messages", 0, "content"]),
        (
            {"messages": [user(additional_context=[{"category": "wiki"}])]},
            ["messages", 0, "additional_context", 0, "category"],
        ),
        (
            {"messages": [user(context={"type": "wiki", "content": "x"})]},
            ["messages", 0, "context", "type"],
        ),
        (
            {"messages": [user(current_file={"file_path": "a", "data": "x"})]},
            ["messages", 0, "current_file", "selected_code"],
        ),
        ({"unavailable_resources": "Wikis"}, ["unavailable_resources"]),
    ],
)
def test_bad_body_is_told_with_its_place_before_any_scope(
    allowing: House, model: Model, changes: dict[str, Any], place: list[str | int]
) -> None:
    token = allowing.token("complete_code")

    response = allowing.post(PATH, {**question(model), **changes}, token=token)

    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", *place]


@pytest.mark.parametrize(
    "changes",
    [
        {"options": None},
        {"options": after()},
        {"options": after(step(thought="", tool="", tool_input="", observation=""))},
        {"messages": [user("x", context=None, current_file=None, additional_context=None)]},
        {"messages": [user("x", additional_context=[], resource_content="unused", extra=1)]},
        {"messages": [{"role": "system", "content": "Be brief."}, user()]},
    ],
)
def test_what_may_be_absent_or_empty_is_accepted(
    allowing: House, model: Model, changes: dict[str, Any]
) -> None:
    response = ask(allowing, {**question(model), **changes})

    assert [event["type"] for event in told(response)] == ["unknown"]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "assistant", "content": "Hello!"}],
        [user(), {"role": "system", "content": "Be brief."}],
    ],
)
def test_last_message_that_is_not_the_users_is_one_error_line(
    allowing: House, model: Model, messages: list[dict[str, Any]]
) -> None:
    response = ask(allowing, {**question(model), "messages": messages})

    assert the_error(response)["retryable"] is False
    assert model.asked == []


# --- Model servers that fail ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        Script.error(500, "SENTINEL"),
        Script.error(503, "SENTINEL"),
        Script.error(401, "SENTINEL"),
        Script.error(429, "SENTINEL", retry_after_s=7),
        Script.html(),
        Script.malformed_json(),
        Script.redirect("http://127.0.0.1:1/v1"),
        Script(compress=True),
        Script(cut_after=0),
        Script(cut_after=0, cut="RST"),
    ],
    ids=["500", "503", "401", "429", "html", "malformed", "redirect", "gzip", "cut", "reset"],
)
def test_failing_model_server_is_200_with_one_error_line(
    allowing: House, model: Model, script: Script
) -> None:
    response = ask(allowing, question(model.answers(script)))

    error = the_error(response)
    assert error["retryable"] is False
    assert "model server of mistral-7b of the caller" in error["message"]
    assert "SENTINEL" not in response.text


def test_refused_connection_is_200_with_one_error_line(allowing: House, model: Model) -> None:
    body = question(model, named={"endpoint": "http://127.0.0.1:1/v1"})

    error = the_error(ask(allowing, body))

    assert error["retryable"] is False


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_overloaded_model_server_may_be_asked_again(
    allowing: House, model: Model, status: int
) -> None:
    model.answers(Script.error(status, "overloaded_error SENTINEL"))

    response = ask(allowing, question(model))

    error = the_error(response)
    assert error["retryable"] is True
    assert "overloaded_error" in error["message"]
    assert "SENTINEL" not in response.text


def test_callers_own_words_never_make_an_error_retryable(allowing: House, model: Model) -> None:
    model.answers(Script.error(500))

    body = question(model, user("overloaded_error"), named={"name": "qwen overloaded_error"})

    assert the_error(ask(allowing, body))["retryable"] is False


@pytest.mark.parametrize(
    "script",
    [
        says("Final Answer: one", " two", cut_after=3),
        says("Final Answer: one", " two", cut_after=3, cut="RST"),
        says("Final Answer: one", " two", finish_reason=None, done=False),
        says("Final Answer: one", " two", malformed_at=3),
    ],
    ids=["cut", "reset", "no end", "malformed"],
)
def test_answer_that_breaks_off_ends_in_an_error_line(
    allowing: House, model: Model, script: Script
) -> None:
    events = told(ask(allowing, question(model.answers(script))))

    assert [event["type"] for event in events[:-1]] == ["final_answer_delta"] * (len(events) - 1)
    assert "".join(event["data"]["text"] for event in events[:-1]) == "one two"
    assert events[-1]["type"] == "error"
    assert events[-1]["data"]["retryable"] is False


def test_broken_off_action_is_never_told(allowing: House, model: Model) -> None:
    model.answers(says("Look.\nAction: issue_reader\nAction Input: iss", "ue 5", cut_after=2))

    events = told(ask(allowing, question(model)))

    assert [event["type"] for event in events] == ["error"]


def test_endless_answer_is_ended_with_an_error_line(allowing: House, model: Model) -> None:
    model.answers(Script(chunks=("Thought: " + "x" * 4096,), never_ends=True))

    error = the_error(ask(allowing, question(model)))

    assert error["retryable"] is False
    assert model.last.closed_by_peer.wait(2)


def test_failure_is_an_outcome_in_the_log(allowing: House, model: Model) -> None:
    model.answers(Script.error(500))

    response = ask(allowing, question(model), x_request_id="agent-failed-1")

    assert the_error(response)
    finished = allowing.gateway.finished("agent-failed-1")
    assert (finished["status"], finished["outcome"]) == (200, "upstream_rejected")
