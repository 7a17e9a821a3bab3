"""Answers that come piece by piece, and callers who leave."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest
import structlog.testing

from feature_config.catalogue import Feature
from gateway.answers import HOLD_STATUS_S
from gateway.exchange import FIRST_CONTENT_WITHIN_S
from gateway.inbound.handler import GatewayHandler
from gateway.inbound.write_clock import HEARTBEAT_AFTER_S, LOOK_EVERY_S
from tests.unit.gateway import virtual_time
from tests.unit.gateway.asgi import Answer, Call, Client
from tests.unit.gateway.inbound.test_handler import BODY, COMPLETIONS
from tests.unit.gateway.parts import (
    EventBody,
    ModelServer,
    chat_event,
    runtime,
    serving,
    snapshot,
    streamed,
    text_event,
)
from tests.unit.gateway.signing import headers, mint

CHAT = "/openai/v1/chat/completions"
QUESTION: dict[str, Any] = {
    "model": "duo_chat",
    "messages": [{"role": "user", "content": "Hi"}],
    "stream": True,
}
DONE = "[DONE]"
RESET = httpx.ReadError("reset by SENTINEL")
NEVER = asyncio.Event


def client(model_server: Any) -> Client:
    chat = serving("chat", serving_format="openai_chat")
    chosen = {Feature.CODE_COMPLETIONS: ["codegemma-gpu1"], Feature.DUO_CHAT: ["chat"]}
    return Client(GatewayHandler(runtime(model_server, snapshot([serving(), chat], chosen))))


def raw_call(body: httpx.AsyncByteStream) -> Call:
    """Return a streamed code completion that the model server answers with `body`."""
    server = ModelServer(streamed(body))
    return client(server).call("POST", COMPLETIONS, headers(mint()), json={**BODY, "stream": True})


async def raw(body: httpx.AsyncByteStream) -> Answer:
    return await raw_call(body).run()


async def chat(body: httpx.AsyncByteStream, **changes: Any) -> list[Any]:
    """Return the events of a streamed chat."""
    server = ModelServer(streamed(body))
    answer = await client(server).post(CHAT, headers(mint()), json={**QUESTION, **changes})
    assert answer.is_complete
    lines = answer.text.split("\n\n")
    assert lines.pop() == ""
    data = [line.removeprefix("data: ") for line in lines]
    return [item if item == DONE else orjson.loads(item) for item in data]


# --- Raw streams ---------------------------------------------------------------------------------


async def test_raw_stream_is_the_texts_one_after_another() -> None:
    body = EventBody(text_event("x = "), text_event("é\n"), text_event("1", "stop"), DONE)

    answer = await raw(body)

    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers
    assert answer.parts == [b"x = ", "é\n".encode(), b"1"]
    assert answer.is_complete
    assert body.is_closed


async def test_raw_stream_without_text_is_empty_and_whole() -> None:
    answer = await raw(EventBody(text_event("", "stop"), DONE))

    assert (answer.status, answer.body, answer.is_complete) == (200, b"", True)


@pytest.mark.parametrize("end", [(DONE,), ()])
async def test_raw_stream_may_end_after_the_finish_reason_without_done(end: tuple[str]) -> None:
    answer = await raw(EventBody(text_event("1"), text_event("", "stop"), *end))

    assert (answer.body, answer.is_complete) == (b"1", True)


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ((RESET,), "upstream_truncated"),
        ((), "upstream_truncated"),
        (("{not json",), "upstream_bad_response"),
        (('{"error": {"message": "SENTINEL"}}',), "upstream_rejected"),
        (("x" * 1_100_000,), "upstream_bad_response"),
    ],
    ids=["reset", "end without a reason", "no JSON", "error event", "oversized event"],
)
async def test_raw_stream_that_breaks_has_no_end(
    broken: tuple[str | Exception, ...], code: str
) -> None:
    body = EventBody(text_event("x = "), *broken)

    with structlog.testing.capture_logs() as logs:
        answer = await raw(body)

    assert (answer.status, answer.body) == (200, b"x = ")
    assert not answer.is_complete
    assert body.is_closed
    assert [event["outcome"] for event in logs if event["event"] == "request.finished"] == [code]
    assert "SENTINEL" not in repr(logs)


async def test_bug_in_a_raw_stream_has_no_end_and_is_logged_as_one() -> None:
    body = EventBody(text_event("x = "), ZeroDivisionError("a bug"))

    with structlog.testing.capture_logs() as logs, pytest.raises(ZeroDivisionError):
        await raw(body)

    assert body.is_closed
    (finished,) = [event for event in logs if event["event"] == "request.finished"]
    assert finished["outcome"] == "internal_error"


@pytest.mark.parametrize(
    "broken",
    [
        (RESET,),
        (),
        ("{not json",),
    ],
    ids=["reset", "end", "no JSON"],
)
async def test_failure_before_the_first_text_has_its_status(
    broken: tuple[str | Exception, ...],
) -> None:
    body = EventBody(*broken)

    answer = await raw(body)

    assert (answer.status, answer.json["detail"]) == (503, "Inference failed")
    assert body.is_closed


async def test_answer_that_is_no_event_stream_has_its_status() -> None:
    page = ModelServer(httpx.Response(200, html="<h1>Please sign in</h1>"))

    answer = await client(page).post(COMPLETIONS, headers(mint()), json={**BODY, "stream": True})

    assert (answer.status, answer.json["code"]) == (503, "upstream_bad_response")


def test_first_text_is_waited_for_until_its_clock_fires() -> None:
    async def main() -> Answer:
        return await raw(EventBody(NEVER()))

    answer = virtual_time.run(main())

    assert (answer.status, answer.json["code"]) == (503, "upstream_timeout")


def test_status_is_held_ten_seconds_at_most() -> None:
    async def main() -> tuple[Answer, float]:
        loop = asyncio.get_running_loop()
        ready, began = asyncio.Event(), loop.time()
        loop.call_later(30, ready.set)
        server = ModelServer(streamed(EventBody(ready, chat_event("Hi", "stop"))))
        call = client(server).call("POST", CHAT, headers(mint()), json=QUESTION)
        running = asyncio.create_task(call.run())
        await call.began_answering.wait()
        held_s = loop.time() - began
        return await running, held_s

    answer, held_s = virtual_time.run(main())

    assert HOLD_STATUS_S <= held_s < HOLD_STATUS_S + 1
    assert answer.is_complete
    assert '"content":"Hi"' in answer.text


def test_stream_that_is_silent_is_kept_alive_until_its_clock_fires() -> None:
    async def main() -> Answer:
        server = ModelServer(streamed(EventBody(NEVER())))
        return await client(server).post(CHAT, headers(mint()), json=QUESTION)

    answer = virtual_time.run(main())

    assert answer.status == 200
    beats = [part for part in answer.parts if part == b": keep-alive\n\n"]
    silent_s = FIRST_CONTENT_WITHIN_S - HOLD_STATUS_S
    assert (
        silent_s // (HEARTBEAT_AFTER_S + LOOK_EVERY_S) <= len(beats) <= silent_s / HEARTBEAT_AFTER_S
    )
    assert b'"code":"upstream_timeout"' in answer.parts[-2]
    assert answer.parts[-1] == b"data: [DONE]\n\n"


# --- OpenAI's events -----------------------------------------------------------------------------


async def test_openai_stream_begins_with_a_role_and_ends_with_done() -> None:
    events = await chat(EventBody(chat_event("Hel"), chat_event("lo"), chat_event("", "length")))

    assert events.pop() == DONE
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    choices = [event["choices"][0] for event in events]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "length"]


async def test_openai_stream_tells_the_usage_when_asked() -> None:
    usage = '{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}'
    body = EventBody(chat_event("Hi", "stop"), usage, DONE)

    events = await chat(body, stream_options={"include_usage": True})

    assert events[-2]["choices"] == []
    told = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert events[-2]["usage"] == told


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ((RESET,), "upstream_truncated"),
        ((), "upstream_truncated"),
        (("{not json",), "upstream_bad_response"),
    ],
)
async def test_openai_stream_that_breaks_has_an_error_event_before_done(
    broken: tuple[str | Exception, ...], code: str
) -> None:
    body = EventBody(chat_event("Hel"), *broken)

    *_, last, problem, done = await chat(body)

    assert last["choices"][0]["delta"] == {"content": "Hel"}
    assert (problem["error"]["code"], problem["error"]["type"]) == (code, "api_error")
    assert problem["error"]["request_id"]
    assert "SENTINEL" not in repr(problem)
    assert done == DONE
    assert body.is_closed


# --- Callers who leave ---------------------------------------------------------------------------


async def left(call: Call) -> tuple[Answer, list[Any]]:
    """Run `call` until its caller has left; return the answer and the log events."""
    with structlog.testing.capture_logs() as logs:
        await call.run()
    return call.answer, [event for event in logs if event["event"] == "request.finished"]


async def test_caller_who_leaves_in_a_stream_closes_the_model_server() -> None:
    body = EventBody(text_event("x = "), NEVER())
    call = raw_call(body)
    running = asyncio.create_task(left(call))
    await call.began_answering.wait()

    call.left.set()
    answer, (finished,) = await running

    assert body.is_closed
    assert not answer.is_complete
    assert finished["outcome"] == "client_left"


async def test_caller_who_leaves_before_the_first_text_closes_the_model_server() -> None:
    body = EventBody(NEVER())
    call = raw_call(body)
    running = asyncio.create_task(left(call))
    await body.is_waiting.wait()

    call.left.set()
    answer, (finished,) = await running

    assert body.is_closed
    assert answer.status == 0
    assert finished["outcome"] == "client_left"


async def test_caller_who_leaves_before_the_headers_cancels_the_request() -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(request: httpx.Request) -> httpx.Response:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError("unreachable")

    call = client(hang).call("POST", COMPLETIONS, headers(mint()), json=BODY)
    running = asyncio.create_task(left(call))
    await asked.wait()

    call.left.set()
    await running

    assert cancelled.is_set()


async def test_caller_who_leaves_while_sending_gets_nothing() -> None:
    server = ModelServer(RESET)
    call = client(server).call("POST", COMPLETIONS, headers(mint()), parts=(b"{", None))
    call.left.set()

    answer = await call.run()

    assert answer.status == 0
    assert server.requests == []


async def test_server_that_stops_closes_the_model_server() -> None:
    body = EventBody(text_event("x = "), NEVER())
    call = raw_call(body)
    running = asyncio.create_task(call.run())
    await call.began_answering.wait()

    running.cancel()
    await asyncio.wait({running})
    await asyncio.sleep(0)

    assert body.is_closed


# --- Model servers that are never asked to stream ------------------------------------------------


async def test_a_whole_answer_streams_in_one_piece() -> None:
    choice = {"index": 0, "text": "x = 1", "finish_reason": "stop"}
    server = ModelServer(httpx.Response(200, json={"choices": [choice]}))
    serves = snapshot([serving()], {Feature.CODE_COMPLETIONS: ["codegemma-gpu1"]})
    unstreamed = runtime(server, serves)
    unstreamed.fleet.asks_for_streams = False

    answer = await Client(GatewayHandler(unstreamed)).post(
        COMPLETIONS, headers(mint()), json={**BODY, "stream": True}
    )

    assert (answer.status, answer.is_complete) == (200, True)
    assert [part for part in answer.parts if part] == [b"x = 1"]
    assert orjson.loads(server.requests[0].content)["stream"] is False
