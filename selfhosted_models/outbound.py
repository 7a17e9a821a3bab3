"""The one door through which the product talks to other servers.

Every socket to a model server or a key set is opened here: the URL policy is applied to the
addresses a name resolves to, in the resolver of the connector that dials them, so what was checked
is what is connected to. Which HTTP client works behind the door is nobody else's business
(decision 0003).
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass

import httpx

from selfhosted_models.endpoints import Endpoint, UrlPolicy, is_ip_literal
from selfhosted_models.errors import (
    OVERLOADED,
    UpstreamNameUnknown,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
)
from selfhosted_models.framing import EventTooLarge, Framings, Splitter
from selfhosted_models.read_clock import ReadClock
from selfhosted_models.serving import Clocks
from selfhosted_models.transport import TRANSPORT_ERRORS, named_errors, network_transport

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_STREAM_BYTES = 16 * 1024 * 1024
MAX_ERROR_BYTES = 4 * 1024
ERROR_BODY_WITHIN_S = 0.5
DRAIN_S = 0.05
_CONNECT_SHARE = 0.8
_LEAST_CONNECT_S = 0.001  # 0 would be no limit at all
RETRY_AFTER_BOUNDS_S = (1, 30)


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """One request to be sent.

    Attributes:
        hop: The other side in messages, e.g. a deployment.
        endpoint_hint: What the URL of such a server looks like, for messages.
    """

    hop: str
    endpoint: Endpoint
    path: str
    method: str = "POST"
    headers: Mapping[str, str] | None = None
    body: bytes | None = None
    endpoint_hint: str = "is it the right URL?"


class UpstreamStream:
    """An answer being received, event by event. Closing it twice is fine."""

    def __init__(
        self, response: httpx.Response, splitter: Splitter, hop: str, clocks: Clocks
    ) -> None:
        self._response = response
        self._parts = aiter(_stream_of(response))
        self._clock = ReadClock(self._parts)
        self._splitter = splitter
        self._hop = hop
        self._clocks = clocks
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._ends_at = loop.time() + clocks.total_s

    async def events(self, *, first_event_by: float) -> AsyncGenerator[bytes, None]:
        """Yield each event as soon as it is whole.

        Args:
            first_event_by: Loop time at which the wait for the first event ends.

        Raises:
            UpstreamTimeout: No event within its clock; the message says which.
            UpstreamTruncated: The connection broke.
            UpstreamProtocolError: An event or the stream is over its size limit.
        """
        splitter = self._splitter
        # Kept while an event is unfinished, so that dripping bytes do not feed the clock.
        deadline, clock = first_event_by, "the first event"
        stream_bytes = 0
        while True:
            if self._ends_at < deadline:
                deadline, clock = self._ends_at, "the end of the answer"
            part = await _next_part(self._clock, deadline, self._hop, clock)
            stream_bytes += len(part or b"")
            if stream_bytes > MAX_STREAM_BYTES:
                raise UpstreamProtocolError(f"{self._hop} sent more than a stream may hold.")
            try:
                events = splitter.flush() if part is None else splitter.feed(part)
            except EventTooLarge as exc:
                raise UpstreamProtocolError(
                    f"{self._hop} sent a {exc} over the size limit: is it a model server?"
                ) from exc
            for data in events:
                yield data
            if part is None:
                return
            if events:
                deadline, clock = self._now() + self._clocks.idle_s, "the next event"

    async def drain(self) -> None:
        """Read the end of an answer that is over, so that its connection can serve again.

        A server that says nothing more within 50 ms costs its connection, not our time.
        """
        with suppress(TimeoutError, *TRANSPORT_ERRORS):
            async with asyncio.timeout(DRAIN_S):
                async for _ in self._parts:
                    pass

    async def aclose(self) -> None:
        """Close the connection unless the answer was read to its end, and free its slot."""
        self._clock.close()
        await self._response.aclose()


class Download:
    """An answer of any status, whose body is read as it comes.

    Attributes:
        status: Of the answer.
        headers: Names in lower case.
    """

    def __init__(self, response: httpx.Response, hop: str, clocks: Clocks) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._clock = ReadClock(aiter(_stream_of(response)))
        self._hop = hop
        self._idle_s = clocks.idle_s
        self._ends_at = asyncio.get_running_loop().time() + clocks.total_s

    async def read(self) -> bytes | None:
        """Return the next bytes, None at the end.

        Raises:
            UpstreamTimeout: They did not come in time.
            UpstreamTruncated: The connection broke.
        """
        by = min(asyncio.get_running_loop().time() + self._idle_s, self._ends_at)
        return await _next_part(self._clock, by, self._hop, "the rest of its answer")

    async def aclose(self) -> None:
        """Close the connection unless the answer was read to its end."""
        self._clock.close()
        await self._response.aclose()


class OutboundDoor:
    """Sends requests; one per process, made inside its event loop.

    Args:
        policy: Which addresses may be dialled.
        transport: Replaces the network, for tests.
    """

    def __init__(
        self,
        policy: UrlPolicy,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._policy = policy
        self._transport = transport or network_transport(policy)

    async def open_stream(
        self, request: OutboundRequest, clocks: Clocks, *, headers_by: float, framings: Framings
    ) -> UpstreamStream:
        """Send `request` and wait for the headers of a good answer only.

        Args:
            request: What to send.
            framings: The media types the answer may have, and what cuts each into events.
            clocks: `connect_s` applies here; the stream keeps to the others.
            headers_by: Loop time at which the wait for the headers ends.

        Raises:
            EndpointRefused: The URL policy forbids the address.
            UpstreamError: One of its leaves.
        """
        response = await self._send(request, clocks, headers_by)
        try:
            await _require_success(response, request)
            splitter = _splitter_for(response, request, framings)
        except BaseException:
            await response.aclose()
            raise
        return UpstreamStream(response, splitter, request.hop, clocks)

    async def fetch(
        self,
        request: OutboundRequest,
        clocks: Clocks,
        *,
        headers_by: float,
        max_bytes: int = MAX_BODY_BYTES,
    ) -> bytes:
        """Send `request` and return the body of a good answer.

        Raises:
            EndpointRefused: The URL policy forbids the address.
            UpstreamError: One of its leaves.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + clocks.total_s
        response = await self._send(request, clocks, headers_by)
        try:
            await _require_success(response, request)
            body = bytearray()
            by = min(loop.time() + clocks.idle_s, ends_at)
            with closing(ReadClock(aiter(_stream_of(response)))) as clock:
                while (part := await _next_part(clock, by, request.hop, "its answer")) is not None:
                    body += part
                    if len(body) > max_bytes:
                        raise UpstreamProtocolError(f"{request.hop} sent an oversized answer.")
                    by = min(loop.time() + clocks.idle_s, ends_at)
            return bytes(body)
        finally:
            await response.aclose()

    async def open_download(
        self, request: OutboundRequest, clocks: Clocks, *, headers_by: float
    ) -> Download:
        """Send `request` and wait for the headers of its answer, which may be any.

        Raises:
            EndpointRefused: The URL policy forbids the address.
            UpstreamError: One of its leaves.
        """
        response = await self._send(request, clocks, headers_by)
        return Download(response, request.hop, clocks)

    async def _send(
        self, request: OutboundRequest, clocks: Clocks, headers_by: float
    ) -> httpx.Response:
        endpoint = request.endpoint
        left_s = headers_by - asyncio.get_running_loop().time()
        # Less than what is left, so that what is not even accepted is told as that.
        connect_s = min(clocks.connect_s, max(left_s * _CONNECT_SHARE, _LEAST_CONNECT_S))
        if is_ip_literal(endpoint.host):  # a literal never meets the connector's resolver
            self._policy.check(endpoint.host, endpoint.host)
        try:
            outgoing = httpx.Request(
                request.method,
                endpoint.url + request.path,
                headers={"Accept-Encoding": "identity", **(request.headers or {})},
                content=request.body,
                # The transport's "pool" clock is the one that spans DNS, TCP and TLS.
                extensions={"timeout": {"connect": connect_s, "pool": connect_s}},
            )
        except (httpx.InvalidURL, UnicodeError) as exc:  # e.g. a broken internationalised name
            raise UpstreamNameUnknown(
                f"{request.hop} cannot be reached: its host is not a name that DNS can hold."
            ) from exc
        with named_errors(request.hop):
            async with asyncio.timeout_at(headers_by):
                return await self._transport.handle_async_request(outgoing)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


async def _next_part(clock: ReadClock, deadline: float, hop: str, awaited: str) -> bytes | None:
    """Return the next bytes of an answer, None at its end; `deadline` is of the loop's clock."""
    try:
        return await clock.read(by=deadline)
    except TimeoutError as exc:
        raise UpstreamTimeout(
            f"{hop} did not send {awaited} in time: it may be overloaded or still loading its "
            "model; raise the deployment's time-outs if it is only slow."
        ) from exc
    except TRANSPORT_ERRORS as exc:
        raise UpstreamTruncated(
            f"{hop} broke the connection in the middle of its answer: see its own log."
        ) from exc


async def _require_success(response: httpx.Response, request: OutboundRequest) -> None:
    hop, status = request.hop, response.status_code
    if 200 <= status < 300:
        # We asked for no encoding, and decoders have no limit on their output.
        if response.headers.get("content-encoding", "identity") != "identity":
            raise UpstreamProtocolError(f"{hop} compressed its answer although asked not to.")
        return
    if status < 400:
        raise UpstreamProtocolError(
            f"{hop} answered with a redirect, which is never followed: register the final URL."
        )
    is_overloaded = await _says_overloaded(response)
    advice = {
        401: "check its API key",
        403: "check its API key",
        404: f"check the endpoint ({request.endpoint_hint}) and the model identifier",
        429: "it is over its own limit",
    }.get(status, "see its own log")
    if is_overloaded:
        advice = f"it is overloaded ({OVERLOADED.decode()}), ask again in a moment"
    raise UpstreamRejected(
        f"{hop} answered {status}: {advice}.",
        status=status,
        retry_after_s=_retry_after_s(response.headers.get("retry-after")),
        is_overloaded=is_overloaded,
    )


async def _says_overloaded(response: httpx.Response) -> bool:
    """Look for the word in the start of an error's body; nothing else of it is kept."""
    start = bytearray()
    with suppress(TimeoutError, *TRANSPORT_ERRORS):
        async with asyncio.timeout(ERROR_BODY_WITHIN_S):
            async for part in _stream_of(response):
                start += part
                if len(start) >= MAX_ERROR_BYTES:
                    break
    return OVERLOADED in start[:MAX_ERROR_BYTES]


def _retry_after_s(value: str | None) -> int | None:
    if value is None or not value.isascii() or not value.isdecimal():
        return None
    low, high = RETRY_AFTER_BOUNDS_S
    return max(low, min(int(value[:6]), high))


def _splitter_for(
    response: httpx.Response, request: OutboundRequest, framings: Framings
) -> Splitter:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in framings:
        raise UpstreamProtocolError(
            f"{request.hop} did not answer with {' or '.join(framings)}: check the endpoint "
            f"({request.endpoint_hint}) and the serving format."
        )
    return framings[media_type]()


def _stream_of(response: httpx.Response) -> httpx.AsyncByteStream:
    """Return the body's bytes as they come; `aiter_raw` would count and copy them once more."""
    stream = response.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError("an async transport gives an async stream")
    return stream
