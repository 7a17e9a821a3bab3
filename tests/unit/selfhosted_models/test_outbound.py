"""The door to other servers: on a transport of our own, then on real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport

from selfhosted_models.endpoints import UrlPolicy, parse_endpoint
from selfhosted_models.errors import (
    EndpointRefused,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from selfhosted_models.framing import JSON_LINES, SERVER_SENT_EVENTS, Framings
from selfhosted_models.outbound import (
    MAX_STREAM_BYTES,
    OutboundDoor,
    OutboundRequest,
    UpstreamStream,
)
from selfhosted_models.serving import Clocks
from selfhosted_models.transport import PolicyResolver
from tests.fakes.loopback import Connection, LoopbackServer, Request, json_body
from tests.fakes.model_server import Exchange, ModelServer, Script

PATIENT = Clocks(connect_s=2, first_token_s=2, idle_s=2, total_s=5)
SOON_S = 2.0
LOOPBACK_ALLOWED = UrlPolicy(allowed_cidrs=["127.0.0.0/8"])
STREAM_HEADERS = {"Content-Type": "text/event-stream"}
MARK = "zebra-7"  # what the other side says; it must not come back in a message

on_sockets = pytest.mark.enable_socket


class Parts(httpx.AsyncByteStream):
    """A body in parts; an exception among them is raised in its place, `...` waits for ever."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            if part is ...:
                await asyncio.Event().wait()
            yield part

    async def aclose(self) -> None:
        self.is_closed = True


def soon(seconds: float = SOON_S) -> float:
    return asyncio.get_running_loop().time() + seconds


def request_to(url: str = "http://10.0.4.11:8000/v1", **overrides: Any) -> OutboundRequest:
    fields: dict[str, Any] = {"path": "/chat/completions", "body": b"{}"}
    return OutboundRequest("gpu1", parse_endpoint(url), **{**fields, **overrides})


def chat_request(server: ModelServer, **overrides: Any) -> OutboundRequest:
    """Return a request for a streamed answer."""
    return request_to(server.endpoint, body=json_body({"stream": True}), **overrides)


def door_that(answer: Callable[[httpx.Request], httpx.Response]) -> OutboundDoor:
    return OutboundDoor(UrlPolicy(), transport=httpx.MockTransport(answer))


def door_answering(status: int = 200, *, body: Any = b"", **headers: str) -> OutboundDoor:
    """Return a door behind which every request has this answer."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    stream = body if isinstance(body, Parts) else Parts(body)
    return door_that(lambda _: httpx.Response(status, headers=sent, stream=stream))


def door_streaming(*parts: Any) -> OutboundDoor:
    body = Parts(*parts)
    return door_that(lambda _: httpx.Response(200, headers=STREAM_HEADERS, stream=body))


async def fetch(
    door: OutboundDoor, request: OutboundRequest | None = None, clocks: Clocks = PATIENT
) -> bytes:
    return await door.fetch(request or request_to(), clocks, headers_by=soon())


async def open_stream(
    door: OutboundDoor,
    request: OutboundRequest | None = None,
    clocks: Clocks = PATIENT,
    *,
    within_s: float = SOON_S,
    framings: Framings = SERVER_SENT_EVENTS,
) -> UpstreamStream:
    return await door.open_stream(
        request or request_to(), clocks, headers_by=soon(within_s), framings=framings
    )


async def events(
    door: OutboundDoor,
    request: OutboundRequest | None = None,
    clocks: Clocks = PATIENT,
    *,
    into: list[bytes] | None = None,
    framings: Framings = SERVER_SENT_EVENTS,
) -> list[bytes]:
    """Return all events of an answer; those before a failure are in `into`."""
    seen = [] if into is None else into
    async with aclosing(await open_stream(door, request, clocks, framings=framings)) as stream:
        async for data in stream.events(first_event_by=soon(clocks.first_token_s)):
            seen.append(data)
    return seen


async def was_closed(exchange: Exchange) -> bool:
    return await asyncio.to_thread(exchange.closed_by_peer.wait, SOON_S)


@pytest.fixture
async def door() -> AsyncIterator[OutboundDoor]:
    """A door to real servers on loopback."""
    opened = OutboundDoor(LOOPBACK_ALLOWED)
    yield opened
    await opened.aclose()


# --- Without a network ------------------------------------------------------------------------


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


TINY_S = 0.05


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


# --- The addresses that may be dialled --------------------------------------------------------


class Names(AbstractResolver):
    """A name server that knows what a test tells it."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = addresses
        self.is_closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=found, port=port, family=family, proto=0, flags=0)
            for found in self.addresses[host]
        ]

    async def close(self) -> None:
        self.is_closed = True


class Silence(Names):
    """A name server that never answers."""

    async def resolve(self, *_: Any, **__: Any) -> list[ResolveResult]:
        await asyncio.Event().wait()
        return []


def door_with(resolver: AbstractResolver) -> OutboundDoor:
    """Return a door that looks names up here."""

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver))

    return OutboundDoor(UrlPolicy(), transport=AiohttpTransport(client=session))


async def test_name_resolves_to_addresses_that_may_be_dialled() -> None:
    resolver = PolicyResolver(UrlPolicy(), Names(gpu1=["10.0.4.11", "fd00::11"]))

    found = await resolver.resolve("gpu1", 8000)

    assert [(result["host"], result["port"]) for result in found] == [
        ("10.0.4.11", 8000),
        ("fd00::11", 8000),
    ]


@pytest.mark.parametrize(
    "addresses",
    [
        ["169.254.169.254"],
        ["10.0.4.11", "169.254.169.254"],
        ["10.0.4.11", "8.8.8.8"],
        ["::ffff:169.254.169.254", "10.0.4.11"],
        ["127.0.0.1"],
    ],
    ids=str,
)
async def test_one_refused_address_refuses_the_whole_name(addresses: list[str]) -> None:
    door = door_with(PolicyResolver(UrlPolicy(), Names(gpu1=addresses)))

    with pytest.raises(EndpointRefused):
        await fetch(door, request_to("http://gpu1/v1"))

    await door.aclose()


async def test_clock_of_the_connection_runs_while_a_name_is_looked_up() -> None:
    door = door_with(PolicyResolver(UrlPolicy(), Silence()))
    clocks = Clocks(connect_s=TINY_S, first_token_s=2, idle_s=2, total_s=2)

    with pytest.raises(UpstreamTimeout, match="not accept a connection"):
        await fetch(door, request_to("http://gpu1/v1"), clocks)

    await door.aclose()


async def test_closing_the_resolver_closes_the_one_below() -> None:
    names = Names()

    await PolicyResolver(UrlPolicy(), names).close()

    assert names.is_closed


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/v1",
        "http://[::1]/v1",
        "http://8.8.8.8/v1",
        "http://169.254.169.254/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://[fe80::1]/v1",
    ],
)
async def test_literal_that_may_not_be_dialled_is_refused_before_anything_is_sent(url: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        pytest.fail("a request was sent")

    with pytest.raises(EndpointRefused):
        await fetch(door_that(answer), request_to(url))


@on_sockets
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "0x7f000001"])
async def test_loopback_is_not_dialled_unless_listed(model_server: ModelServer, host: str) -> None:
    door = OutboundDoor(UrlPolicy())
    url = model_server.endpoint.replace("127.0.0.1", host)

    with pytest.raises(EndpointRefused, match="UPSTREAM_ALLOWED_HOSTS") as caught:
        await fetch(door, request_to(url))

    await door.aclose()
    assert caught.value.safe_message.startswith(f"{host} points at 127.0.0.1")
    assert model_server.exchanges == []


@on_sockets
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_loopback_is_dialled_once_its_host_is_listed(
    model_server: ModelServer, host: str
) -> None:
    door = OutboundDoor(UrlPolicy(allowed_hosts=[host]))
    url = model_server.endpoint.replace("127.0.0.1", host)

    await fetch(door, request_to(url))

    await door.aclose()
    assert model_server.wait_for_request().headers["host"] == url.split("/")[2]


@on_sockets
@pytest.mark.parametrize("host", ["0.0.0.0", "0x0"])
async def test_unspecified_address_is_not_dialled_even_if_listed(
    model_server: ModelServer, host: str
) -> None:
    door = OutboundDoor(UrlPolicy(["0.0.0.0/0", "::/0"], [host]))

    with pytest.raises(EndpointRefused, match="never dialled"):
        await fetch(door, request_to(model_server.endpoint.replace("127.0.0.1", host)))

    await door.aclose()
    assert model_server.exchanges == []


# --- On real sockets --------------------------------------------------------------------------


class RawServer(LoopbackServer):
    """Answers any request with these bytes, then closes."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer

    async def respond(self, request: Request, connection: Connection) -> None:
        connection.transport.write(self.answer)
        connection.close()


@contextlib.contextmanager
def unused_port() -> Iterator[int]:
    """Yield a port that is taken and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextlib.contextmanager
def full_port() -> Iterator[int]:
    """Yield a port whose queue of connections is full: a further one is never accepted."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@on_sockets
async def test_answer_is_fetched(model_server: ModelServer, door: OutboundDoor) -> None:
    body = await fetch(door, request_to(model_server.endpoint))

    assert b"Hello, world!" in body


@on_sockets
async def test_answer_is_streamed(model_server: ModelServer, door: OutboundDoor) -> None:
    seen = await events(door, chat_request(model_server))

    assert seen[-1] == b"[DONE]"
    assert b"".join(seen).count(b'"content"') == 5


@on_sockets
@pytest.mark.parametrize(
    "script",
    [
        Script(chunks=("Grüße, ", "世界 🦊"), piece_bytes=1),
        Script(chunks=("Grüße, ", "世界 🦊"), piece_bytes=7, line_end="\r\n", comments=True),
    ],
    ids=["single bytes", "CRLF and comments"],
)
async def test_stream_in_small_packets_is_put_together(
    model_server: ModelServer, door: OutboundDoor, script: Script
) -> None:
    model_server.answer_with(script)

    seen = await events(door, chat_request(model_server))

    text = b"".join(seen).decode()
    assert "Grüße, " in text
    assert "世界 🦊" in text
    assert seen[-1] == b"[DONE]"


@on_sockets
async def test_only_the_headers_given_are_sent(
    model_server: ModelServer, door: OutboundDoor
) -> None:
    given = {
        "Authorization": "Bearer sk-1",
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "User-Agent": "selfhosted-duo",
        "X-Request-Id": "abc",
    }

    await fetch(door, request_to(model_server.endpoint, headers=given, body=b"{}"))

    assert model_server.wait_for_request().headers == {
        **{name.lower(): value for name, value in given.items()},
        "accept-encoding": "identity",
        "content-length": "2",
        "host": model_server.url.removeprefix("http://"),
    }


@on_sockets
async def test_libraries_add_no_header_of_their_own(
    model_server: ModelServer, door: OutboundDoor
) -> None:
    await fetch(door, request_to(model_server.endpoint, path="/models", method="GET", body=None))

    assert set(model_server.wait_for_request().headers) == {"host", "accept-encoding"}


@on_sockets
async def test_cookies_are_not_kept(model_server: ModelServer, door: OutboundDoor) -> None:
    model_server.answer_with(Script(headers={"Set-Cookie": "session=1; Path=/"}))

    for _ in range(2):
        await fetch(door, request_to(model_server.endpoint))

    assert "cookie" not in model_server.wait_for_request(1).headers


@on_sockets
async def test_proxy_of_the_environment_sees_nothing(
    model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        door = OutboundDoor(LOOPBACK_ALLOWED)

        await fetch(door, request_to(model_server.endpoint))

        await door.aclose()
        assert proxy.exchanges == []
    assert len(model_server.exchanges) == 1


@on_sockets
async def test_refused_connection_is_unreachable(door: OutboundDoor) -> None:
    with unused_port() as port, pytest.raises(UpstreamUnreachable, match="server runs") as caught:
        await fetch(door, request_to(f"http://127.0.0.1:{port}/v1"))

    assert caught.value.code == "upstream_unreachable"


@on_sockets
async def test_unknown_name_is_unreachable(door: OutboundDoor) -> None:
    with pytest.raises(UpstreamUnreachable, match="host name is not known"):
        await fetch(door, request_to("http://no-such-server.invalid/v1"))


@on_sockets
@pytest.mark.parametrize("host", ["xn--a", "xn--zz--9"])
async def test_name_that_cannot_be_one_is_unreachable(door: OutboundDoor, host: str) -> None:
    with pytest.raises(UpstreamUnreachable, match="host"):
        await fetch(door, request_to(f"http://{host}/v1"))


@on_sockets
async def test_connection_that_is_not_accepted_times_out(door: OutboundDoor) -> None:
    clocks = Clocks(connect_s=TINY_S, first_token_s=2, idle_s=2, total_s=2)

    with full_port() as port, pytest.raises(UpstreamTimeout, match="not accept a connection"):
        await fetch(door, request_to(f"http://127.0.0.1:{port}/v1"), clocks)


@on_sockets
async def test_server_without_tls_is_unreachable_by_https(
    model_server: ModelServer, door: OutboundDoor
) -> None:
    with pytest.raises(UpstreamUnreachable):
        await fetch(door, request_to(model_server.endpoint.replace("http:", "https:")))

    assert model_server.exchanges == []


@on_sockets
@pytest.mark.parametrize(
    "banner",
    [b"SSH-2.0-OpenSSH_9.2 zebra-7\r\n", b"HTTP/9.9 999 zebra-7\r\n\r\n", b"\x00\xff" * 40],
    ids=["SSH", "HTTP of no version", "noise"],
)
async def test_server_that_does_not_speak_http_is_named(door: OutboundDoor, banner: bytes) -> None:
    with RawServer(banner) as server, pytest.raises(UpstreamError) as caught:
        await fetch(door, request_to(server.url))

    assert caught.value.safe_message.startswith("gpu1 ")
    assert MARK not in str(caught.value)


@on_sockets
async def test_reason_phrase_that_is_not_ascii_does_no_harm(door: OutboundDoor) -> None:
    answer = b"HTTP/1.1 200 G\xfct \xe2\x82\xac\r\nContent-Length: 2\r\n\r\nhi"

    with RawServer(answer) as server:
        assert await fetch(door, request_to(server.url)) == b"hi"


@on_sockets
async def test_redirect_of_a_server_is_not_followed(
    model_server: ModelServer, door: OutboundDoor
) -> None:
    elsewhere = model_server.path("elsewhere")
    model_server.answer_with(Script.redirect(elsewhere))

    with pytest.raises(UpstreamProtocolError, match="redirect"):
        await fetch(door, request_to(model_server.endpoint))

    assert model_server.exchanges_at("elsewhere") == []


@on_sockets
async def test_gzip_is_not_unpacked(model_server: ModelServer, door: OutboundDoor) -> None:
    model_server.answer_with(Script(compress=True, stall=1))

    with pytest.raises(UpstreamProtocolError, match="compressed"):
        await events(door, chat_request(model_server))

    assert await was_closed(model_server.wait_for_request())


@on_sockets
async def test_page_in_place_of_a_stream_is_refused(
    model_server: ModelServer, door: OutboundDoor
) -> None:
    model_server.answer_with(Script.html())

    with pytest.raises(UpstreamProtocolError, match="did not answer with text/event-stream"):
        await events(door, chat_request(model_server))


@on_sockets
@pytest.mark.parametrize("cut", ["FIN", "RST"])
async def test_stream_that_is_cut_is_truncated_after_what_had_come(
    model_server: ModelServer, door: OutboundDoor, cut: Any
) -> None:
    model_server.answer_with(Script(cut_after=3, cut=cut, gap_s=0.01))
    seen: list[bytes] = []

    with pytest.raises(UpstreamTruncated) as caught:
        await events(door, chat_request(model_server), into=seen)

    assert len(seen) == 3
    assert caught.value.retryable is False


@on_sockets
@pytest.mark.parametrize("cut", ["FIN", "RST"])
async def test_body_that_is_cut_is_truncated(
    model_server: ModelServer, door: OutboundDoor, cut: Any
) -> None:
    model_server.answer_with(Script(cut_after=0, cut=cut))

    with pytest.raises(UpstreamError) as caught:
        await fetch(door, request_to(model_server.endpoint))

    # A RST may overtake the headers that were sent before it.
    assert isinstance(caught.value, UpstreamTruncated | UpstreamUnreachable)


@on_sockets
async def test_stall_before_the_headers_times_out_and_closes(
    model_server: ModelServer, door: OutboundDoor
) -> None:
    model_server.answer_with(Script(stall="before_headers"))

    with pytest.raises(UpstreamTimeout, match="accepted the request and did not answer in time"):
        await open_stream(door, chat_request(model_server), within_s=0.1)

    assert await was_closed(model_server.wait_for_request())


@on_sockets
@pytest.mark.parametrize(
    ("script", "clocks", "clock"),
    [
        (Script(stall="after_headers"), Clocks(2, 0.1, 2, 2), "the first event"),
        (Script(stall=2), Clocks(2, 2, 0.1, 2), "the next event"),
        (Script(never_ends=True, gap_s=0.01), Clocks(2, 2, 2, 0.2), "the end of the answer"),
        (Script(chunks=("a" * 900,), piece_bytes=1), Clocks(2, 0.1, 2, 2), "the first event"),
    ],
    ids=["after headers", "mid-stream", "never ends", "drips"],
)
async def test_stalled_stream_times_out_and_closes(
    model_server: ModelServer, door: OutboundDoor, script: Script, clocks: Clocks, clock: str
) -> None:
    model_server.answer_with(script)
    request = request_to(
        model_server.endpoint, path="/completions", body=json_body({"stream": True})
    )

    with pytest.raises(UpstreamTimeout, match=f"did not send {clock} in time"):
        await events(door, request, clocks)

    assert await was_closed(model_server.wait_for_request())


@on_sockets
async def test_line_without_an_end_is_bounded(
    model_server: ModelServer, door: OutboundDoor
) -> None:
    model_server.answer_with(Script(endless_line=True))

    with pytest.raises(UpstreamProtocolError, match="line over the size limit"):
        await events(door, chat_request(model_server))

    assert await was_closed(model_server.wait_for_request())


@on_sockets
@pytest.mark.parametrize(
    "script",
    [Script(stall="before_headers"), Script(stall="after_headers"), Script(stall=2)],
    ids=["before headers", "after headers", "mid-stream"],
)
async def test_cancelled_request_closes_its_connection(
    model_server: ModelServer, door: OutboundDoor, script: Script
) -> None:
    model_server.answer_with(script)
    asking = asyncio.create_task(events(door, chat_request(model_server)))
    exchange = await asyncio.to_thread(model_server.wait_for_request)

    asking.cancel()

    assert await was_closed(exchange)
    with pytest.raises(asyncio.CancelledError):
        await asking


@on_sockets
async def test_stream_that_is_left_early_closes_its_connection(
    model_server: ModelServer, door: OutboundDoor
) -> None:
    model_server.answer_with(Script(stall=2))

    async with aclosing(await open_stream(door, chat_request(model_server))) as stream:
        await anext(aiter(stream.events(first_event_by=soon())))

    assert await was_closed(model_server.wait_for_request())


@on_sockets
async def test_connection_of_a_finished_stream_is_kept(
    model_server: ModelServer, door: OutboundDoor
) -> None:
    for _ in range(3):
        await events(door, chat_request(model_server))

    closed = [exchange.closed_by_peer.is_set() for exchange in model_server.exchanges]
    assert closed == [False, False, False]


@on_sockets
async def test_closed_door_closes_its_connections(model_server: ModelServer) -> None:
    door = OutboundDoor(LOOPBACK_ALLOWED)
    await events(door, chat_request(model_server))

    await door.aclose()

    assert await was_closed(model_server.wait_for_request())
