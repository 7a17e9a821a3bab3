"""Checklist 1 to 7: what every path shares."""

import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.contract.house import House, Model, completion

COMPLETIONS = "/v2/code/completions"


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


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETIONS, completion()),
        ("/v1/prompts/model_configuration%2Fcheck", {"inputs": {}}),
        ("/openai/v1/chat/completions", {"model": "duo_chat", "messages": [{"role": "user"}]}),
    ],
)
def test_unknown_members_are_no_error(allowing: House, path: str, body: dict[str, Any]) -> None:
    told = [allowing.post(path, {**body, **more}) for more in ({}, {"anything": [1]})]

    assert told[0].status_code == told[1].status_code
    assert "anything" not in told[1].text


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
