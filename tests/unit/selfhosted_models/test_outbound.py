"""The door to other servers, on a transport of our own."""

import asyncio
import contextlib
from contextlib import aclosing
from typing import Any

import aiohttp
import httpx
import pytest

from selfhosted_models.errors import (
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from selfhosted_models.framing import JSON_LINES, SERVER_SENT_EVENTS, Framings
from selfhosted_models.outbound import MAX_STREAM_BYTES
from selfhosted_models.serving import Clocks
from tests.unit.selfhosted_models.doors import (
    MARK,
    PATIENT,
    TINY_S,
    Parts,
    door_answering,
    door_streaming,
    door_that,
    events,
    fetch,
    open_stream,
    request_to,
    soon,
)


async def test_body_of_a_good_answer_is_returned() -> None:
    assert await fetch(door_answering(body=Parts(b'{"a":', b" 1}"))) == b'{"a": 1}'


async def test_request_is_sent_as_it_was_made() -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
    await fetch(door_that(answer), request_to(headers=headers, body=b'{"a": 1}'))

    (request,) = sent
    assert (request.method, str(request.url)) == (
        "POST",
        "http://10.0.4.11:8000/v1/chat/completions",
    )
    assert request.headers["authorization"] == "Bearer k"
    assert request.headers["accept-encoding"] == "identity"
    assert request.content == b'{"a": 1}'


@pytest.mark.parametrize(
    ("status", "advice", "is_retryable"),
    [
        (400, "see its own log", False),
        (401, "check its API key", False),
        (403, "check its API key", False),
        (404, "check the endpoint", False),
        (408, "see its own log", False),
        (422, "see its own log", False),
        (429, "over its own limit", False),
        (500, "see its own log", True),
        (501, "see its own log", False),
        (502, "see its own log", True),
        (503, "see its own log", True),
        (504, "see its own log", True),
    ],
)
async def test_error_status_is_named_with_advice(
    status: int, advice: str, *, is_retryable: bool
) -> None:
    door = door_answering(status, body=MARK.encode(), X_Reason=MARK)

    with pytest.raises(UpstreamRejected) as caught:
        await fetch(door)

    error = caught.value
    assert error.safe_message.startswith(f"gpu1 answered {status}: ")
    assert advice in error.safe_message
    assert MARK not in str(error)
    assert (error.status, error.retryable, error.retry_after_s) == (status, is_retryable, None)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7),
        ("0", 1),
        ("1", 1),
        ("30", 30),
        ("31", 30),
        ("9" * 5000, 30),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("٣", None),
    ],
    ids=ascii,
)
async def test_retry_after_is_a_few_seconds_or_not_given(told: str, seconds: int | None) -> None:
    headers = [(b"Retry-After", told.encode())]
    door = door_that(lambda _: httpx.Response(429, headers=headers, stream=Parts()))

    with pytest.raises(UpstreamRejected) as caught:
        await fetch(door)

    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308])
async def test_redirect_is_not_followed(status: int) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, headers={"Location": f"http://{MARK}/"}, stream=Parts())

    with pytest.raises(UpstreamProtocolError, match="redirect, which is never followed") as caught:
        await fetch(door_that(answer))

    assert MARK not in str(caught.value)
    assert len(asked) == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", MARK])
async def test_compressed_answer_is_refused(encoding: str) -> None:
    with pytest.raises(UpstreamProtocolError, match="compressed its answer") as caught:
        await fetch(door_answering(Content_Encoding=encoding))

    assert MARK not in str(caught.value)


async def test_answer_of_the_largest_size_is_taken_and_a_larger_one_refused() -> None:
    request = request_to()

    taken = await door_answering(body=Parts(b"12345", b"678")).fetch(
        request, PATIENT, headers_by=soon(), max_bytes=8
    )
    with pytest.raises(UpstreamProtocolError, match="oversized"):
        await door_answering(body=Parts(b"12345", b"6789")).fetch(
            request, PATIENT, headers_by=soon(), max_bytes=8
        )

    assert taken == b"12345678"


@pytest.mark.parametrize(
    "content_type", ["text/html", "", "text/event-stream-not", "application/x-ndjson"]
)
async def test_answer_of_another_media_type_is_refused(content_type: str) -> None:
    door = door_answering(Content_Type=content_type)

    with pytest.raises(UpstreamProtocolError, match="did not answer with text/event-stream"):
        await events(door, request_to(endpoint_hint="does it end in /v1?"))


async def test_refusal_says_what_the_endpoint_looks_like() -> None:
    request = request_to(endpoint_hint="does it end in /v1?")

    for door in (door_answering(404), door_answering(Content_Type="text/html")):
        with pytest.raises(UpstreamError, match=r"\(does it end in /v1\?\)"):
            await events(door, request)


@pytest.mark.parametrize(
    ("content_type", "framings"),
    [
        ("application/x-ndjson", JSON_LINES),
        ("Application/X-NDJSON; charset=utf-8", JSON_LINES),
        ("application/json", JSON_LINES),
        ("application/json", SERVER_SENT_EVENTS),
    ],
)
async def test_answer_is_cut_as_its_media_type_says(content_type: str, framings: Framings) -> None:
    door = door_answering(body=Parts(b'{"a"', b": 1}\n{}"), Content_Type=content_type)

    seen = await events(door, framings=framings)

    is_lines = "ndjson" in content_type.lower()
    assert seen == ([b'{"a": 1}', b"{}"] if is_lines else [b'{"a": 1}\n{}'])


@pytest.mark.parametrize(
    ("content_type", "line"),
    [("application/json", b"x" * 200_000), ("application/x-ndjson", b"x" * 300_000)],
)
async def test_every_framing_bounds_its_events(content_type: str, line: bytes) -> None:
    door = door_answering(body=Parts(*[line] * 6), Content_Type=content_type)

    with pytest.raises(UpstreamProtocolError, match="over the size limit"):
        await events(door, framings=JSON_LINES)


async def test_lines_are_bounded_as_a_whole_stream() -> None:
    line = b"1" * 200_000 + b"\n"
    body = Parts(*[line] * (MAX_STREAM_BYTES // len(line) + 1))
    door = door_answering(body=body, Content_Type="application/x-ndjson")

    with pytest.raises(UpstreamProtocolError, match="more than a stream may hold"):
        await events(door, framings=JSON_LINES)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(500, stream=Parts()),
        httpx.Response(302, stream=Parts()),
        httpx.Response(200, stream=Parts()),
        httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Parts()),
    ],
    ids=["status", "redirect", "not a stream", "compressed"],
)
async def test_refused_stream_is_closed(response: httpx.Response) -> None:
    with pytest.raises(UpstreamError):
        await events(door_that(lambda _: response))

    assert isinstance(response.stream, Parts)
    assert response.stream.is_closed


@pytest.mark.parametrize("last", [b"ok", httpx.ReadError(MARK), RuntimeError(MARK)], ids=repr)
async def test_fetched_answer_is_closed_however_it_ends(last: Any) -> None:
    body = Parts(b"a", last)

    with contextlib.suppress(UpstreamTruncated, RuntimeError):
        await fetch(door_answering(body=body))

    assert body.is_closed


async def test_events_come_whole_however_they_were_cut() -> None:
    door = door_streaming(b"da", b"ta: a\n", b"\ndata: b\n\nda", b"ta: c")

    assert await events(door) == [b"a", b"b", b"c"]


async def test_stream_may_say_its_charset() -> None:
    door = door_answering(body=b"data: a\n\n", Content_Type="text/event-stream; charset=utf-8")

    assert await events(door) == [b"a"]


async def test_event_is_handed_on_before_the_next_one_comes() -> None:
    door = door_streaming(b"data: a\n\n", ...)

    async with aclosing(await open_stream(door)) as stream:
        first = await anext(aiter(stream.events(first_event_by=soon())))

    assert first == b"a"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadError(MARK),
        httpx.RemoteProtocolError(MARK),
        aiohttp.ClientPayloadError(MARK),
        aiohttp.ServerDisconnectedError(MARK),
        aiohttp.http_exceptions.TransferEncodingError(MARK),
        ConnectionResetError(MARK),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_connection_that_breaks_in_an_answer_truncates_it(error: Exception) -> None:
    seen: list[bytes] = []

    with pytest.raises(UpstreamTruncated, match="gpu1 broke the connection") as caught:
        await events(door_streaming(b"data: a\n\n", error), into=seen)
    with pytest.raises(UpstreamTruncated):
        await fetch(door_answering(body=Parts(b"a", error)))

    assert seen == [b"a"]
    assert MARK not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError(MARK), httpx.RemoteProtocolError(MARK), OSError(MARK)],
    ids=lambda error: type(error).__name__,
)
async def test_connection_that_cannot_be_made_is_unreachable(error: Exception) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(UpstreamUnreachable, match="gpu1 cannot be reached") as caught:
        await fetch(door_that(answer))

    assert caught.value.retryable
    assert MARK not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ([b"data: " + b"a" * 300_000], "line"),
        ([b"data: " + b"a" * 200_000 + b"\n"] * 6, "event"),
        # The last line is never ended: the limit still holds when the stream ends.
        ([b"data: " + b"a" * 209_000 + b"\n"] * 5 + [b"data: " + b"a" * 9_000], "event"),
    ],
    ids=["line", "event", "event at the end"],
)
async def test_oversized_event_is_refused(parts: list[bytes], what: str) -> None:
    with pytest.raises(UpstreamProtocolError, match=f"sent a {what} over the size limit"):
        await events(door_streaming(*parts))


async def test_stream_is_bounded_as_a_whole() -> None:
    event = b"data: " + b"a" * 200_000 + b"\n\n"
    door = door_streaming(*[event] * (MAX_STREAM_BYTES // len(event) + 1))

    with pytest.raises(UpstreamProtocolError, match="more than a stream may hold"):
        await events(door)


@pytest.mark.parametrize(
    ("parts", "clocks", "clock"),
    [
        ([...], Clocks(2, TINY_S, 2, 2), "the first event"),
        ([b": waking up\n\n", ...], Clocks(2, TINY_S, 2, 2), "the first event"),
        ([b"data: a\n", ...], Clocks(2, TINY_S, 2, 2), "the first event"),
        ([b"data: a\n\n", ...], Clocks(2, 2, TINY_S, 2), "the next event"),
        ([b"data: a\n\n", b"data: b", ...], Clocks(2, 2, TINY_S, 2), "the next event"),
        ([b"data: a\n\n", ...], Clocks(2, 2, 2, TINY_S), "the end of the answer"),
        ([...], Clocks(2, 2, 2, TINY_S), "the end of the answer"),
    ],
    ids=["nothing", "comment", "half an event", "idle", "half the next", "total", "total at once"],
)
async def test_silence_ends_with_the_clock_that_fired(
    parts: list[Any], clocks: Clocks, clock: str
) -> None:
    with pytest.raises(UpstreamTimeout, match=f"did not send {clock} in time"):
        await events(door_streaming(*parts), clocks=clocks)


async def test_silence_in_a_fetched_answer_ends() -> None:
    for clocks in (Clocks(2, 2, TINY_S, 2), Clocks(2, 2, 2, TINY_S)):
        with pytest.raises(UpstreamTimeout, match="did not send its answer in time"):
            await fetch(door_answering(body=Parts(b"a", ...)), clocks=clocks)


async def test_time_a_slow_reader_takes_is_not_the_servers() -> None:
    door = door_streaming(b"data: a\n\ndata: b\n\n", b"data: c\n\n")
    clocks = Clocks(2, 2, TINY_S, 2)
    seen = []

    async with aclosing(await open_stream(door, clocks=clocks)) as stream:
        async for data in stream.events(first_event_by=soon()):
            seen.append(data)
            await asyncio.sleep(2 * TINY_S)  # the reader's slowness is what is tested

    assert seen == [b"a", b"b", b"c"]


async def test_stream_may_be_closed_twice() -> None:
    stream = await open_stream(door_streaming(b"data: a\n\n"))

    await stream.aclose()
    await stream.aclose()
