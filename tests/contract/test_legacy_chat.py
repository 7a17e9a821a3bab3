"""Checklist 61 and section 2.7: chat with a prompt the caller wrote itself."""

import time
from typing import Any

import httpx
import pytest

from tests.contract.house import House, Model
from tests.fakes.model_server import Script

#: Invokable -> the scope it needs.
SCOPE_OF = {
    "agent": "duo_chat",
    "explain_code": "duo_chat",
    "write_tests": "duo_chat",
    "refactor_code": "duo_chat",
    "explain_vulnerability": "explain_vulnerability",
    "summarize_comments": "summarize_comments",
    "troubleshoot_job": "troubleshoot_job",
}
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Name a fruit."},
]
NAMES = [
    *("mistral", "mixtral", "codegemma", "codellama", "codestral", "deepseekcoder", "claude_3"),
    *("gpt", "claude_3.5", "qwen2p5-coder-7b"),
]
VENDOR_NAMES = ["claude-2.0", "claude-2.1", "claude-3-haiku-20240307", "claude-3-5-sonnet-20241022"]


def body(server: Model | None = None, *, stream: bool = False, **payload: Any) -> dict[str, Any]:
    """Return a body that names a model at `server`, or none."""
    named: dict[str, Any] = {}
    if server is not None:
        named = {"provider": "litellm", "model": "mixtral", "model_endpoint": server.endpoint}
        named |= {"model_api_key": "key-gamma", "model_identifier": "custom_openai/mx-8x7b"}
    component = {
        "type": "prompt",
        "metadata": {"source": "GitLab EE", "version": "18.0.1"},
        "payload": {"content": "Name a fruit.", **named, **payload},
    }
    return {"prompt_components": [component], "stream": stream}


def ask(house: House, sent: Any, invokable: str = "agent", *scopes: str) -> httpx.Response:
    token = house.token(*(scopes or (SCOPE_OF.get(invokable, "duo_chat"),)))
    return house.post(f"/v1/chat/{invokable}", sent, token=token)


def component_without(member: str) -> dict[str, Any]:
    sent = body()
    del sent["prompt_components"][0][member]
    return sent


# --- Who may ask ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("invokable", "scope"), SCOPE_OF.items())
def test_invokable_needs_its_scope(
    allowing: House, model: Model, invokable: str, scope: str
) -> None:
    others = {*SCOPE_OF.values(), "complete_code", invokable} - {scope}

    refused = ask(allowing, body(model), invokable, *others)
    accepted = ask(allowing, body(model), invokable, scope)

    detail = f"Unauthorized to access {scope}"
    assert (refused.status_code, refused.json()["detail"]) == (403, detail)
    assert accepted.status_code == 200
    assert len(model.asked) == 1


@pytest.mark.parametrize("invokable", ["zzz", "fix_code", "Agent"])
def test_other_invokable_is_not_found_once_its_body_is_good(
    allowing: House, model: Model, invokable: str
) -> None:
    good = ask(allowing, body(model), invokable, "complete_code")
    bad = ask(allowing, {"prompt_components": []}, invokable)

    assert (good.status_code, good.json()["detail"]) == (404, "Not found")
    assert bad.status_code == 422
    assert model.asked == []


def test_token_issued_to_a_user_is_refused(allowing: House, model: Model) -> None:
    response = allowing.post("/v1/chat/agent", body(model), token=allowing.own_token())

    assert response.status_code == 403


# --- What is asked of the model ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "asked"),
    [("Name a fruit.", [{"role": "user", "content": "Name a fruit."}]), (MESSAGES, MESSAGES)],
    ids=["text", "messages"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_prompt_reaches_the_model_as_it_was_written(
    allowing: House, model: Model, content: Any, asked: Any, stream: bool
) -> None:
    ask(allowing, body(model, content=content, stream=stream))

    assert model.last.path == "/v1/chat/completions"
    assert model.last.headers["authorization"] == "Bearer key-gamma"
    assert model.last.json == {
        "model": "mx-8x7b",
        "messages": asked,
        "temperature": 0.2,
        "top_p": 0.95,
        "max_tokens": 2048,
        "n": 1,
        "stream": stream,
    }


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"temperature": 0.9, "max_tokens_to_sample": 7, "stop_sequences": ["x"]},
    ],
)
def test_callers_parameters_are_not_read_for_a_model_of_ours(
    allowing: House, model: Model, params: dict[str, Any] | None
) -> None:
    ask(allowing, body(model, params=params))

    asked = model.last.json
    assert (asked["temperature"], asked["max_tokens"], "stop" in asked) == (0.2, 2048, False)


@pytest.mark.parametrize(
    ("name", "stops"),
    [
        ("mistral", ["</new_code>"]),
        (
            "codegemma",
            ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_separator|>"],
        ),
        ("mixtral", None),
        ("gpt", None),
    ],
)
def test_stops_are_those_of_the_line(
    allowing: House, model: Model, name: str, stops: list[str] | None
) -> None:
    ask(allowing, body(model, model=name))

    assert model.last.json.get("stop") == stops


@pytest.mark.parametrize("identifier", [None, ""])
@pytest.mark.parametrize("name", NAMES)
def test_line_is_the_models_name_where_there_is_no_identifier(
    allowing: House, model: Model, name: str, identifier: str | None
) -> None:
    response = ask(allowing, body(model, model=name, model_identifier=identifier))

    assert (response.status_code, model.last.json["model"]) == (200, name)


def test_without_a_key_there_is_no_authorization(allowing: House, model: Model) -> None:
    ask(allowing, body(model, model_api_key=None))

    assert "authorization" not in model.last.headers


@pytest.mark.parametrize(
    ("params", "asked"),
    [
        (None, {"temperature": 0.2, "max_tokens": 2048}),
        ({}, {"temperature": 0.2, "max_tokens": 2048}),
        ({"temperature": 0}, {"temperature": 0, "max_tokens": 2048}),
        ({"max_tokens_to_sample": 7}, {"temperature": 0.2, "max_tokens": 7}),
        (
            {"stop_sequences": ["Observation:", ""]},
            {"temperature": 0.2, "max_tokens": 2048, "stop": ["Observation:"]},
        ),
    ],
)
def test_callers_parameters_hold_for_a_vendors_model(
    registering: House, params: dict[str, Any] | None, asked: dict[str, Any]
) -> None:
    registering.models.path("chat", Script())

    response = ask(registering, body(model="claude-2.1", params=params))

    sent = registering.models.exchanges_at("chat")[-1].json
    assert response.status_code == 200
    names = ("temperature", "max_tokens", "stop")
    assert {name: sent[name] for name in names if name in sent} == asked


@pytest.mark.parametrize("provider", [None, "anthropic"])
@pytest.mark.parametrize("name", VENDOR_NAMES)
def test_vendors_model_is_answered_by_the_choice_made_here(
    registering: House, provider: str | None, name: str
) -> None:
    registering.models.path("chat", Script(chunks=("Apple",)))

    response = ask(registering, body(provider=provider, model=name))

    assert response.json()["response"] == "Apple"
    assert registering.models.exchanges_at("chat")[-1].json["model"] == "chat-model"
    named = {part: response.json()["metadata"][part] for part in ("provider", "model")}
    assert named == {"provider": "anthropic", "model": name}


def test_vendors_provider_never_reaches_the_callers_endpoint(allowing: House, model: Model) -> None:
    response = ask(allowing, body(model, provider="anthropic", model="claude-2.1"))

    assert (response.status_code, response.json()["code"]) == (503, "deployment_missing")
    assert model.asked == []


@pytest.mark.parametrize("endpoint", [None, "", "gpu1"])
def test_named_model_without_an_endpoint_is_refused(
    allowing: House, model: Model, endpoint: str | None
) -> None:
    response = ask(allowing, body(model, model_endpoint=endpoint))

    assert response.status_code == 422
    assert "model_endpoint" in response.json()["detail"]


def test_inactive_feature_is_refused(registering: House) -> None:
    response = ask(registering, body(), "summarize_comments")

    assert (response.status_code, response.json()["code"]) == (403, "feature_inactive")


# --- What comes back -----------------------------------------------------------------------------


def test_answer_has_the_contracts_form(allowing: House, model: Model) -> None:
    before = int(time.time())

    answer = ask(allowing, body(model.answers(Script(chunks=("Ap", "ple"))))).json()

    assert before <= answer["metadata"].pop("timestamp") <= time.time()
    assert answer == {
        "response": "Apple",
        "metadata": {"provider": "litellm", "model": "mixtral"},
    }


@pytest.mark.parametrize("text", ["", " \n ", "```ruby\nx\n```"])
def test_text_is_returned_as_the_model_gave_it(allowing: House, model: Model, text: str) -> None:
    response = ask(allowing, body(model.answers(Script(chunks=(text,)))))

    assert (response.status_code, response.json()["response"]) == (200, text)


def test_stream_is_the_texts_and_nothing_else(allowing: House, model: Model) -> None:
    model.answers(Script(chunks=("App", "le é\n"), piece_bytes=1))

    response = ask(allowing, body(model, stream=True))

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.text == "Apple é\n"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "script", [Script.error(500, "SENTINEL"), Script.error(401, "SENTINEL"), Script.html()]
)
def test_failing_model_server_is_503(
    allowing: House, model: Model, script: Script, stream: bool
) -> None:
    response = ask(allowing, body(model.answers(script), stream=stream))

    assert (response.status_code, response.json()["detail"]) == (503, "Inference failed")
    assert "SENTINEL" not in response.text


# --- Bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"prompt_components": []},
        {"prompt_components": [*body()["prompt_components"]] * 2},
        component_without("type"),
        component_without("metadata"),
        component_without("payload"),
        body(content=None),
        body(content=[]),
        body(content=[MESSAGES[1]] * 101),
        body(content=[{"role": "tool", "content": "x"}]),
        body(content="x" * 400_001),
        body(provider="openai"),
        body(model="gizmo"),
        {**body(), "stream": "perhaps"},
        body(params=[]),
        body(params={"temperature": 1.01}),
        body(params={"temperature": -0.01}),
        body(params={"max_tokens_to_sample": 0}),
        body(params={"max_tokens_to_sample": 8193}),
        body(params={"stop_sequences": []}),
        body(params={"stop_sequences": ["x"] * 11}),
        body(params={"stop_sequences": ["x" * 226]}),
        body(params={"stop_sequences": "x"}),
    ],
    ids=range(23),
)
def test_bad_body_is_refused(allowing: House, sent: dict[str, Any]) -> None:
    response = ask(allowing, sent, "agent", "complete_code")

    assert response.status_code == 422
    assert all(item["loc"][0] == "body" for item in response.json()["detail"])


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 0, "max_tokens_to_sample": 1, "stop_sequences": ["x"]},
        {"temperature": 1, "max_tokens_to_sample": 8192, "stop_sequences": ["x" * 225] * 10},
    ],
)
def test_parameters_at_the_edge_are_taken(
    allowing: House, model: Model, params: dict[str, Any]
) -> None:
    assert ask(allowing, body(model, params=params)).status_code == 200


@pytest.mark.parametrize("member", ["type", "source", "version"])
@pytest.mark.parametrize(("length", "status"), [(100, 200), (101, 422)])
def test_words_about_the_prompt_are_100_characters_at_most(
    allowing: House, model: Model, member: str, length: int, status: int
) -> None:
    sent = body(model)
    component = sent["prompt_components"][0]
    (component if member == "type" else component["metadata"])[member] = "x" * length

    assert ask(allowing, sent).status_code == status


@pytest.mark.parametrize("content", ["x" * 400_000, [MESSAGES[1]] * 100])
def test_prompt_of_the_largest_size_is_taken(allowing: House, model: Model, content: Any) -> None:
    assert ask(allowing, body(model, content=content)).status_code == 200
