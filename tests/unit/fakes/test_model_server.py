"""The fake does what it says: tests of the gateway rest on it."""

import gzip
import json
import socket
import threading
from typing import Any

import httpx
import pytest

from tests.fakes.model_server import DONE, Exchange, ModelServer, Script

pytestmark = pytest.mark.enable_socket

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
STREAM = {**CHAT, "stream": True}
SOON_S = 2.0


def post(server: ModelServer, body: dict[str, Any], path: str = "/chat/completions") -> Any:
    return httpx.post(server.endpoint + path, json=body, timeout=SOON_S)


def raw_client(server: ModelServer, body: dict[str, Any]) -> socket.socket:
    """Return a socket that has sent a chat request, to see and to close as a test likes."""
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    client = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), SOON_S)
    client.sendall(head.encode() + content)
    return client


def texts(stream: str) -> list[str]:
    """Return the pieces of text in a streamed chat answer."""
    data = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data")]
    deltas = [choice["delta"] for item in data[:-1] for choice in json.loads(item)["choices"]]
    return [delta["content"] for delta in deltas if delta.get("content")]


def test_answers_chat_in_one_body(model_server: ModelServer) -> None:
    answer = post(model_server, CHAT).json()

    assert answer["choices"][0]["message"]["content"] == "Hello, world!"
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}


def test_answers_text_in_one_body(model_server: ModelServer) -> None:
    answer = post(model_server, {"model": "m", "prompt": "def f"}, "/completions").json()

    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["text"] == "Hello, world!"


def test_records_the_request(model_server: ModelServer) -> None:
    headers = {"Authorization": "Bearer secret"}
    httpx.post(model_server.path("case") + "/completions", json={"prompt": "é"}, headers=headers)

    (exchange,) = model_server.exchanges_at("case")
    assert (exchange.method, exchange.path) == ("POST", "/v1/completions")
    assert exchange.headers["authorization"] == "Bearer secret"
    assert exchange.json == {"prompt": "é"}


def test_lists_its_model(model_server: ModelServer) -> None:
    models = httpx.get(model_server.endpoint + "/models").json()

    assert [model["id"] for model in models["data"]] == ["fake-model"]


def test_streams_events_to_the_end(model_server: ModelServer) -> None:
    response = post(model_server, {**STREAM, "stream_options": {"include_usage": True}})

    assert texts(response.text) == ["Hello", ", ", "world", "!"]
    assert '"total_tokens": 11' in response.text
    assert response.text.endswith("data: [DONE]\n\n")
    exchange = model_server.wait_for_request()
    assert exchange.completed.wait(SOON_S)
    assert exchange.sent_events == 8  # the role, four texts, the end, the usage, [DONE]


def test_serves_two_requests_on_one_connection(model_server: ModelServer) -> None:
    model_server.answer_with(Script.error(503), Script())

    with httpx.Client(base_url=model_server.endpoint) as client:
        statuses = [client.post("/chat/completions", json=CHAT).status_code for _ in range(2)]

    assert statuses == [503, 200]


@pytest.mark.parametrize(
    ("script", "status", "starts_with"),
    [
        (Script.error(401, "bad key"), 401, '{"error": {"message": "bad key"'),
        (Script.html(), 200, "<!doctype html>"),
        (Script.malformed_json(), 200, '{"choices": [{"message"'),
        (Script.redirect("/elsewhere"), 302, ""),
    ],
)
def test_answers_something_else(
    model_server: ModelServer, script: Script, status: int, starts_with: str
) -> None:
    model_server.answer_with(script)

    response = post(model_server, STREAM)

    assert response.status_code == status
    assert response.text.startswith(starts_with)


def test_asks_to_come_back_later(model_server: ModelServer) -> None:
    model_server.answer_with(Script.error(429, retry_after_s=7))

    assert post(model_server, CHAT).headers["Retry-After"] == "7"


@pytest.mark.parametrize("body", [CHAT, STREAM])
def test_compresses(model_server: ModelServer, body: dict[str, Any]) -> None:
    model_server.answer_with(Script(compress=True))

    with httpx.stream("POST", model_server.endpoint + "/chat/completions", json=body) as response:
        raw = b"".join(response.iter_raw())

    assert response.headers["Content-Encoding"] == "gzip"
    assert b"world" in gzip.decompress(raw)


def test_cuts_packets_lines_and_characters(model_server: ModelServer) -> None:
    model_server.answer_with(
        Script(chunks=("é€🎉",), piece_bytes=1, line_end="\r\n", comments=True)
    )

    with httpx.stream("POST", model_server.endpoint + "/chat/completions", json=STREAM) as response:
        pieces = list(response.iter_raw())

    assert max(map(len, pieces)) < 10
    stream = b"".join(pieces)
    assert stream.count(b": keep-alive\r\n\r\n") == 4
    assert stream.endswith(b"data: [DONE]\r\n\r\n")
    assert texts(stream.decode()) == ["é€🎉"]


def test_breaks_one_event(model_server: ModelServer) -> None:
    model_server.answer_with(Script(malformed_at=1))

    first, second, third, *_ = post(model_server, STREAM).text.split("\n\n")

    assert json.loads(first.removeprefix("data: "))
    assert json.loads(third.removeprefix("data: "))
    with pytest.raises(json.JSONDecodeError):
        json.loads(second.removeprefix("data: "))


@pytest.mark.parametrize(
    ("script", "lacks"),
    [(Script(done=False), DONE.decode()), (Script(finish_reason=None), '"finish_reason": "stop"')],
)
def test_leaves_the_end_out(model_server: ModelServer, script: Script, lacks: str) -> None:
    model_server.answer_with(script)

    response = post(model_server, STREAM)

    assert "world" in response.text
    assert lacks not in response.text


def test_cuts_with_fin(model_server: ModelServer) -> None:
    model_server.answer_with(Script(cut_after=2))

    with pytest.raises(httpx.RemoteProtocolError):
        post(model_server, STREAM)

    exchange = model_server.wait_for_request()
    assert exchange.sent_events == 2
    assert not exchange.closed_by_peer.is_set()


def test_cuts_with_rst(model_server: ModelServer) -> None:
    model_server.answer_with(Script(cut_after=2, cut="RST"))

    with pytest.raises(httpx.ReadError):
        post(model_server, STREAM)


@pytest.mark.parametrize("stall", ["before_headers", "after_headers", 2])
def test_sees_the_peer_close_while_it_stalls(model_server: ModelServer, stall: Any) -> None:
    model_server.answer_with(Script(stall=stall))

    client = raw_client(model_server, STREAM)
    exchange = model_server.wait_for_request()
    still_open = not exchange.closed_by_peer.is_set()
    client.close()

    assert still_open
    assert exchange.closed_by_peer.wait(SOON_S)
    assert not exchange.completed.is_set()
    assert exchange.sent_events <= 2


@pytest.mark.parametrize(
    "script", [Script(never_ends=True, gap_s=0.001), Script(endless_line=True)]
)
def test_goes_on_until_the_peer_closes(model_server: ModelServer, script: Script) -> None:
    model_server.answer_with(script)

    client = raw_client(model_server, STREAM)
    received = sum(len(client.recv(4096)) for _ in range(20))
    client.close()

    exchange = model_server.wait_for_request()
    assert received > 1000
    assert exchange.closed_by_peer.wait(SOON_S)
    assert not exchange.completed.is_set()


@pytest.mark.parametrize("stall", ["before_headers", "after_headers", 0, 3])
def test_goes_on_when_released(model_server: ModelServer, stall: Any) -> None:
    model_server.answer_with(Script(stall=stall))
    responses: list[httpx.Response] = []

    caller = threading.Thread(target=lambda: responses.append(post(model_server, STREAM)))
    caller.start()
    model_server.wait_for_request().release()
    caller.join(SOON_S)

    assert texts(responses[0].text) == ["Hello", ", ", "world", "!"]


def test_waits_between_events(model_server: ModelServer) -> None:
    model_server.answer_with(Script(gap_s=0.01))

    response = post(model_server, STREAM)

    assert response.elapsed.total_seconds() >= 6 * 0.009  # six gaps between seven events


def test_base_paths_do_not_see_each_other(model_server: ModelServer) -> None:
    broken = model_server.path("broken", Script.error(500))
    sound = model_server.path("sound")

    answers = [httpx.post(f"{base}/chat/completions", json=CHAT) for base in (broken, sound)]

    assert [answer.status_code for answer in answers] == [500, 200]
    assert [len(model_server.exchanges_at(name)) for name in ("broken", "sound", "")] == [1, 1, 0]


def test_missing_request_is_reported(model_server: ModelServer) -> None:
    with pytest.raises(TimeoutError, match="no request 0"):
        model_server.wait_for_request(timeout_s=0.01)


def test_a_mistake_in_a_script_fails_the_test() -> None:
    server = ModelServer()

    with pytest.raises(IndexError), server:  # noqa: PT012 - the exit is what raises
        server.answer_with(Script(malformed_at=99))
        with pytest.raises(httpx.HTTPError):
            post(server, STREAM)


def test_stops_with_a_stalled_connection_open() -> None:
    with ModelServer() as server:
        server.answer_with(Script(stall="after_headers"))
        client = raw_client(server, STREAM)
        exchange: Exchange = server.wait_for_request()

    client.close()
    assert not exchange.completed.is_set()
