"""A model server that says it is overloaded: one word of it is acted on, none is repeated."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest

from gateway.errors import Dialect, answer_for
from selfhosted_models.endpoints import parse_endpoint
from selfhosted_models.errors import UpstreamRejected
from selfhosted_models.framing import SERVER_SENT_EVENTS
from selfhosted_models.outbound import MAX_ERROR_BYTES, OutboundRequest
from selfhosted_models.serving import CHAT_CLOCKS
from tests.unit.gateway.asgi import Answer
from tests.unit.gateway.inbound.test_handler import BODY, COMPLETIONS
from tests.unit.gateway.inbound.test_handler_streams import client
from tests.unit.gateway.parts import EventBody, door, streamed
from tests.unit.gateway.signing import headers, mint

OVERLOADED = b'{"type": "error", "error": {"type": "overloaded_error", "message": "zebra-7"}}'


class Body(httpx.AsyncByteStream):
    """A body in parts; None among them is silence until the end of time."""

    def __init__(self, *parts: bytes | Exception | None) -> None:
        self.parts = parts
        self.sent_bytes = 0
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            if part is None:
                await asyncio.Event().wait()
                return
            self.sent_bytes += len(part)
            yield part

    async def aclose(self) -> None:
        self.is_closed = True


async def rejection(body: Body, status: int = 529, *, stream: bool = False) -> UpstreamRejected:
    opened = door(lambda _: httpx.Response(status, stream=body))
    send: Any = opened.fetch
    if stream:
        send = partial(opened.open_stream, framings=SERVER_SENT_EVENTS)
    request = OutboundRequest("gpu1", parse_endpoint("http://10.0.4.11/v1"), "/chat/completions")
    by = asyncio.get_running_loop().time() + 5
    with pytest.raises(UpstreamRejected) as caught:
        await send(request, CHAT_CLOCKS, headers_by=by)
    return caught.value


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 429, 500, 503, 529])
async def test_overloaded_server_may_be_asked_again(status: int, *, stream: bool) -> None:
    error = await rejection(Body(OVERLOADED), status, stream=stream)

    assert (error.status, error.is_overloaded, error.retryable) == (status, True, True)
    assert "overloaded_error" in error.safe_message
    assert "zebra-7" not in error.safe_message


@pytest.mark.parametrize("cut", range(1, len(OVERLOADED)))
async def test_word_is_found_wherever_the_body_is_cut(cut: int) -> None:
    error = await rejection(Body(OVERLOADED[:cut], OVERLOADED[cut:]))

    assert error.is_overloaded


@pytest.mark.parametrize("body", [b"", b"{}", b"overloaded", b"OVERLOADED_ERROR", b"\xff\xfe"])
async def test_other_errors_are_as_their_status_says(body: bytes) -> None:
    told = [await rejection(Body(body), status) for status in (400, 529, 503)]

    assert [error.is_overloaded for error in told] == [False] * 3
    assert [error.retryable for error in told] == [False, False, True]
    assert all("overloaded_error" not in error.safe_message for error in told)


async def test_only_the_start_of_a_body_is_read() -> None:
    body = Body(*[b"x" * 1024] * 100, OVERLOADED)

    error = await rejection(body)

    assert not error.is_overloaded
    assert body.sent_bytes == MAX_ERROR_BYTES
    assert body.is_closed


@pytest.mark.parametrize("end", [None, httpx.ReadError("reset"), OSError("reset")])
async def test_body_that_never_ends_or_breaks_off_is_still_the_servers_answer(
    end: Exception | None,
) -> None:
    bodies = Body(b"{", end), Body(OVERLOADED, end)

    told = [await rejection(body) for body in bodies]

    assert [error.is_overloaded for error in told] == [False, True]
    assert all(body.is_closed for body in bodies)


def test_caller_is_told_when_to_come_again() -> None:
    error = UpstreamRejected("no", status=529, is_overloaded=True)

    answer = answer_for(error, Dialect.CODE, "req-1")

    assert (answer.status, "Retry-After" in answer.headers) == (503, True)


async def completion(answer: httpx.Response, *, stream: bool) -> Answer:
    """Return what a caller gets whose model server answers so."""
    asked = {**BODY, "stream": stream}
    return await client(lambda _: answer).post(COMPLETIONS, headers(mint()), json=asked)


def successes_that_are_none() -> list[httpx.Response]:
    """Return the ways to say `overloaded_error` under a status of 200."""
    return [
        httpx.Response(200, json={"error": {"type": "overloaded_error", "message": "zebra-7"}}),
        streamed(EventBody(OVERLOADED.decode())),
        streamed(EventBody('{"choices": []}', OVERLOADED.decode())),
    ]


@pytest.mark.parametrize("way", range(3), ids=["body", "event", "later event"])
async def test_overloaded_server_that_answers_200_may_be_asked_again(way: int) -> None:
    answer = await completion(successes_that_are_none()[way], stream=True)

    assert (answer.status, "retry-after" in answer.headers) == (503, True)
    assert answer.json["code"] == "upstream_rejected"
    assert "overloaded_error" in answer.json["message"]
    assert "zebra-7" not in answer.text


async def test_overloaded_server_that_answers_200_without_a_stream_may_be_asked_again() -> None:
    answer = await completion(successes_that_are_none()[0], stream=False)

    assert (answer.status, "retry-after" in answer.headers) == (503, True)
