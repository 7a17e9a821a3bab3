"""Checklist 1 to 7: what every path shares."""

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.contract.house import House, Model, completion, file, generation, metadata
from tests.fakes.model_server import Script

COMPLETIONS = "/v2/code/completions"
CHECK = "/v1/prompts/model_configuration%2Fcheck"
_CHAT = {
    "type": "prompt",
    "metadata": {"source": "GitLab EE", "version": "18.0.1"},
    "payload": {"content": "Hi"},
}
_EDITED = {"type": "code_editor_completion", "payload": file()}

#: Path -> a good body for it.
BODIES: dict[str, Callable[[Model], dict[str, Any]]] = {
    COMPLETIONS: completion,
    "/v2/completions": completion,
    "/v2/code/generations": generation,
    CHECK: lambda model: {"inputs": {}, "model_metadata": metadata(model)},
    "/v2/chat/agent": lambda model: {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/chat/agent": lambda model: {"prompt_components": [_CHAT]},
    "/v1/search/gitlab-docs": lambda model: {
        "type": "search-docs",
        "metadata": _CHAT["metadata"],
        "payload": {"query": "create issue"},
    },
    "/v3/code/completions": lambda model: {"prompt_components": [_EDITED]},
    "/v4/code/suggestions": lambda model: {"prompt_components": [_EDITED]},
}


def test_probe_needs_no_token(allowing: House) -> None:
    response = allowing.client.get("/monitoring/healthz")

    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["content-type"] == "application/json"


def test_probe_takes_get_only(allowing: House) -> None:
    response = allowing.client.post("/monitoring/healthz")

    assert response.status_code == 405
    assert response.json()["detail"] == "Method Not Allowed"


@pytest.mark.parametrize("path", ["/v9/nothing", "/v1/search/docs", "/docs", "/metrics", "/v2"])
def test_unknown_path_is_401_then_404(allowing: House, path: str) -> None:
    stranger = allowing.client.get(path)
    caller = allowing.client.get(path, headers=allowing.headers())

    assert stranger.status_code == 401
    assert (caller.status_code, caller.json()["detail"]) == (404, "Not Found")


@pytest.mark.parametrize("path", [COMPLETIONS, "/v2/completions", "/v1/code/user_access_token"])
def test_other_method_is_405_with_the_right_one(allowing: House, path: str) -> None:
    response = allowing.client.get(path, headers=allowing.headers())

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["detail"] == "Method Not Allowed"


def test_request_id_is_echoed_or_made(allowing: House) -> None:
    echoed = allowing.client.get("/monitoring/healthz", headers={"X-Request-ID": "corr-42"})
    made = allowing.client.get("/monitoring/healthz")

    assert echoed.headers["x-request-id"] == "corr-42"
    assert len(made.headers["x-request-id"]) == 32
    assert int(made.headers["x-request-id"], 16)


@pytest.mark.parametrize("attempt", range(5))
def test_process_time_is_a_number_of_seconds(allowing: House, attempt: int) -> None:
    response = allowing.client.get("/monitoring/healthz")

    assert 0 <= float(response.headers["x-process-time"]) < 5


def test_preflight_for_post_needs_no_token(allowing: House) -> None:
    asked = {"Origin": "https://ide.example.com", "Access-Control-Request-Method": "POST"}

    response = allowing.client.options(COMPLETIONS, headers=asked)

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"


def test_preflight_for_delete_is_refused(allowing: House) -> None:
    asked = {"Origin": "https://ide.example.com", "Access-Control-Request-Method": "DELETE"}

    response = allowing.client.options(COMPLETIONS, headers=asked)

    assert (response.status_code, response.text) == (400, "Disallowed CORS method")


def test_options_that_ask_for_no_method_are_no_preflight(allowing: House) -> None:
    response = allowing.client.options(COMPLETIONS, headers={"Origin": "https://ide.example.com"})

    assert response.status_code == 401


def test_final_slash_is_redirected_with_its_query(allowing: House) -> None:
    response = allowing.post(f"{COMPLETIONS}/?a=b&c=%2F", completion())

    assert (response.status_code, response.headers["location"]) == (307, f"{COMPLETIONS}?a=b&c=%2F")


@pytest.mark.parametrize("name", ["%0D%0AX-Odd%3A%201", "%C4%B1%C3%A9", "a%3Fb%23c"])
def test_final_slash_is_redirected_to_the_same_odd_path(allowing: House, name: str) -> None:
    response = allowing.post(f"/v1/chat/{name}/", completion())

    assert response.status_code == 307
    assert response.headers["location"] == f"/v1/chat/{name}"


def test_final_slash_is_redirected_with_its_method(allowing: House) -> None:
    response = allowing.post(f"{COMPLETIONS}/", completion())

    assert response.status_code == 307
    assert response.headers["location"] == COMPLETIONS


def test_bad_body_is_told_before_a_missing_scope(allowing: House) -> None:
    token = allowing.token("documentation_search")

    response = allowing.post(COMPLETIONS, {"prompt_version": 2}, token=token)

    assert response.status_code == 422


def test_malformed_json_is_told_with_its_place(allowing: House) -> None:
    response = allowing.client.post(COMPLETIONS, content=b'{"a": }', headers=allowing.headers())

    (item,) = response.json()["detail"]
    assert response.status_code == 422
    assert (item["type"], item["loc"]) == ("json_invalid", ["body", 6])


@pytest.mark.parametrize("path", BODIES)
def test_unknown_members_are_no_error(allowing: House, model: Model, path: str) -> None:
    token = allowing.token("complete_code", "generate_code", "duo_chat", "documentation_search")
    body = BODIES[path](model)
    told = [allowing.post(path, {**body, **more}, token=token) for more in ({}, {"anything": [1]})]

    assert told[0].status_code == told[1].status_code != 422
    assert "anything" not in told[1].text


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("content", [b"", b"null", b"[]", b'"x"', b"7"])
def test_body_that_is_no_object_is_told_as_such(allowing: House, path: str, content: bytes) -> None:
    response = allowing.client.post(path, content=content, headers=allowing.headers())

    (item,) = response.json()["detail"]
    assert (response.status_code, item["loc"]) == (422, ["body"])
    if not content:
        assert (item["type"], item["msg"]) == ("missing", "Field required")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"current_file": {"file_name": "a.py"}}, "missing", "Field required"),
        (
            {"current_file": file(file_name="x" * 256)},
            "string_too_long",
            "String should have at most 255 characters",
        ),
        ({"model_endpoint": 7}, "string_type", "Input should be a valid string"),
        (
            {"model_provider": "openai"},
            "literal_error",
            "Input should be 'anthropic', 'vertex-ai', 'litellm', 'codestral' or 'fireworks_ai'",
        ),
        (
            {"context": [{"type": "file", "name": "a", "content": ""}] * 101},
            "too_long",
            "List should have at most 100 items after validation, not 101",
        ),
        (
            {"model_name": "gizmo", "model_provider": "litellm"},
            "value_error",
            "Value error, model gizmo is not supported by use case code completions and provider "
            "litellm",
        ),
    ],
)
def test_error_of_a_body_has_the_contracts_words(
    allowing: House, changes: dict[str, Any], kind: str, message: str
) -> None:
    response = allowing.post(COMPLETIONS, completion(**changes))

    item = response.json()["detail"][0]
    assert (item["type"], item["msg"]) == (kind, message)


@pytest.mark.parametrize(
    ("path", "body", "kind", "message"),
    [
        (
            "/v1/chat/agent",
            {"prompt_components": []},
            "too_short",
            "List should have at least 1 item after validation, not 0",
        ),
        (
            "/v1/chat/agent",
            {"prompt_components": [{}, {}]},
            "too_long",
            "List should have at most 1 item after validation, not 2",
        ),
        (CHECK, {"inputs": []}, "dict_type", "Input should be a valid dictionary"),
        (
            "/v2/chat/agent",
            {"messages": [{"role": "tool", "content": ""}]},
            "literal_error",
            "Input should be 'system', 'user' or 'assistant'",
        ),
    ],
)
def test_error_of_another_body_has_the_contracts_words(
    allowing: House, path: str, body: Any, kind: str, message: str
) -> None:
    items = allowing.post(path, body).json()["detail"]

    assert (kind, message) in [(item["type"], item["msg"]) for item in items]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"project_id": "41", "choices_count": "3"}, 200),
        ({"stream": "true"}, 200),
        ({"stream": "True"}, 200),
        ({"stream": "False"}, 200),
        ({"stream": "perhaps"}, 422),
        ({"project_id": "4.5"}, 422),
        ({"prompt_version": "2"}, 422),
    ],
)
def test_numbers_and_flags_may_be_texts_but_the_version(
    allowing: House, model: Model, changes: dict[str, Any], status: int
) -> None:
    assert allowing.post(COMPLETIONS, completion(model, **changes)).status_code == status


def test_answer_is_compact_with_its_characters_as_they_are(allowing: House, model: Model) -> None:
    model.answers(Script(chunks=("é",)))

    response = allowing.post(COMPLETIONS, completion(model))

    assert '"text":"é","index":0'.encode() in response.content


def test_validation_never_repeats_a_key(allowing: House, model: Model) -> None:
    body = completion(model, current_file={"file_name": "a.py"})

    response = allowing.post(COMPLETIONS, body)

    assert response.status_code == 422
    assert "key-alpha" not in response.text


# --- What no well-behaved client sends -----------------------------------------------------------


def speak(house: House, request: bytes) -> bytes:
    """Send bytes and return the first of the answer; empty if the connection was closed."""
    address = urlsplit(house.gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(65_536)


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, "Host: gateway", *headers, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    "target",
    [
        "/monitoring/healthz?\xff",
        "/monitoring/healthz?%ff%fe",
        "/monitoring/\xff",
        "/monitoring/%ff",
        "/monitoring/%00",
        "/monitoring/%2e%2e/%2e%2e/etc/passwd",
        "//monitoring",
        "/" + "a" * 10_000,
        "http://elsewhere/monitoring/nothing",
    ],
)
def test_odd_target_is_a_callers_error(allowing: House, target: str) -> None:
    answer = speak(allowing, head(f"GET {target} HTTP/1.1", "Connection: close"))

    status = int(answer.split(b" ")[1])
    assert status == 200 or 400 <= status < 500


@pytest.mark.parametrize("value", ["\xff\xfe", "a\tb", "x" * 9000])
def test_odd_header_is_a_callers_error(allowing: House, value: str) -> None:
    names = ("Authorization", "X-Request-ID", "X-Gitlab-Realm", "Content-Type", "Origin")
    lines = [f"{name}: {value}" for name in names]

    answer = speak(allowing, head("POST /v2/completions HTTP/1.1", *lines, "Content-Length: 0"))

    assert 400 <= int(answer.split(b" ")[1]) < 500


def test_declared_size_over_the_limit_is_refused_before_it_is_sent(allowing: House) -> None:
    length = f"Content-Length: {5 * 1024 * 1024}"
    lines = [f"{name}: {value}" for name, value in allowing.headers().items()]

    answer = speak(allowing, head(f"POST {COMPLETIONS} HTTP/1.1", *lines, length))

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


def test_body_of_several_megabytes_is_served(allowing: House, model: Model) -> None:
    context = [{"type": "file", "name": "f", "content": "x" * 450_000}] * 8

    response = allowing.post(COMPLETIONS, completion(model, context=context))

    assert response.status_code == 200
