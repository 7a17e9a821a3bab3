"""The OpenAI dialect: its envelope, its statuses, its stream."""

from typing import Any

import pytest

from tests.contract.house import House, Model, new_model
from tests.fakes.model_server import Script

PATH = "/openai/v1/chat/completions"


@pytest.fixture
def chat(registering: House) -> Model:
    """The model that answers `duo_chat`."""
    return new_model(registering.models, "chat")


def question(**changes: Any) -> dict[str, Any]:
    return {"model": "duo_chat", "messages": [{"role": "user", "content": "Hi"}], **changes}


def test_answer_has_openais_form(registering: House, chat: Model) -> None:
    chat.answers(Script(chunks=("Hello",), usage=(7, 4)))

    response = registering.post(PATH, question(), x_request_id="corr-42")

    answer = response.json()
    assert response.status_code == 200
    assert isinstance(answer.pop("created"), int)
    assert answer == {
        "id": "chatcmpl-corr-42",
        "object": "chat.completion",
        "model": "duo_chat",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11},
    }


def test_model_is_asked_with_the_stored_key_and_name(registering: House, chat: Model) -> None:
    registering.post(PATH, question(max_tokens=5, temperature=0, stop="END"))

    assert chat.last.headers["authorization"] == "Bearer stored-key-of-chat"
    assert chat.last.json["model"] == "chat-model"
    assert (chat.last.json["max_tokens"], chat.last.json["temperature"]) == (5, 0)
    assert "END" in chat.last.json["stop"]
    assert chat.last.json["messages"][-1] == {"role": "user", "content": "Hi"}


def test_stream_ends_with_done(registering: House, chat: Model) -> None:
    chat.answers(Script(chunks=("Hel", "lo")))

    response = registering.post(PATH, question(stream=True))

    events = response.text.split("\n\n")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: {") for event in events[:-2])


def test_stream_that_breaks_has_an_error_event_before_done(registering: House, chat: Model) -> None:
    chat.answers(Script(chunks=("Hel", "lo"), cut_after=2, cut="RST"))

    events = registering.post(PATH, question(stream=True)).text.split("\n\n")

    assert '"error"' in events[-3]
    assert '"code":"upstream_truncated"' in events[-3]
    assert events[-2] == "data: [DONE]"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (Script.error(401), 502, "upstream_rejected"),
        (Script.error(400), 502, "upstream_rejected"),
        (Script.error(429), 503, "upstream_rejected"),
        (Script.error(503), 503, "upstream_rejected"),
        (Script.error(500), 502, "upstream_rejected"),
        (Script.html(), 502, "upstream_bad_response"),
        (Script.malformed_json(), 502, "upstream_bad_response"),
    ],
)
def test_failing_model_server_has_a_status_clients_act_on(
    registering: House, chat: Model, script: Script, status: int, code: str, stream: bool
) -> None:
    response = registering.post(PATH, question(stream=stream) if chat.answers(script) else None)

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["type"] == "api_error"
    assert ("retry-after" in response.headers) != ("x-should-retry" in response.headers)


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (question(model="zzz"), 404, "invalid_request_error"),
        (question(model="code_completions"), 404, "invalid_request_error"),
        (question(messages=[]), 400, "invalid_request_error"),
        (question(messages=[{"role": "tool", "content": "x"}]), 400, "invalid_request_error"),
        (question(temperature=3), 400, "invalid_request_error"),
        ({}, 400, "invalid_request_error"),
        ([], 400, "invalid_request_error"),
    ],
)
def test_callers_error_has_an_envelope(
    registering: House, body: Any, status: int, kind: str
) -> None:
    response = registering.post(PATH, body)

    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (status, kind)
    assert error.keys() == {"message", "type", "param", "code", "request_id"}
    assert error["request_id"] == response.headers["x-request-id"]


def test_malformed_json_has_an_envelope(registering: House) -> None:
    response = registering.client.post(PATH, content=b"{", headers=registering.headers())

    assert (response.status_code, response.json()["error"]["code"]) == (400, "json_invalid")


@pytest.mark.parametrize(
    ("method", "path", "authorised", "status", "kind"),
    [
        ("POST", PATH, False, 401, "authentication_error"),
        ("POST", "/openai/v1/nothing", False, 401, "authentication_error"),
        ("POST", "/openai/v1/nothing", True, 404, "invalid_request_error"),
        ("GET", PATH, True, 405, "invalid_request_error"),
    ],
)
def test_errors_of_every_path_have_an_envelope(
    registering: House, method: str, path: str, authorised: bool, status: int, kind: str
) -> None:
    headers = registering.headers() if authorised else {}

    response = registering.client.request(method, path, headers=headers)

    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    assert ("www-authenticate" in response.headers) is (status == 401)


def test_missing_scope_is_a_permission_error(registering: House) -> None:
    token = registering.token("complete_code")

    response = registering.post(PATH, question(), token=token)

    assert (response.status_code, response.json()["error"]["type"]) == (403, "permission_error")


def test_unassigned_feature_is_503_without_a_retry(allowing: House) -> None:
    response = allowing.post(PATH, question())

    assert (response.status_code, response.json()["error"]["code"]) == (503, "deployment_missing")
    assert response.headers["x-should-retry"] == "false"
