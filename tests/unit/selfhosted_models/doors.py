"""The outbound door for tests: on a transport of our own, or on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from selfhosted_models.endpoints import UrlPolicy, parse_endpoint
from selfhosted_models.framing import SERVER_SENT_EVENTS, Framings
from selfhosted_models.outbound import OutboundDoor, OutboundRequest, UpstreamStream
from selfhosted_models.serving import Clocks
from tests.fakes.loopback import json_body
from tests.fakes.model_server import Exchange, ModelServer

PATIENT = Clocks(connect_s=2, first_token_s=2, idle_s=2, total_s=5)
SOON_S = 2.0
LOOPBACK_ALLOWED = UrlPolicy(allowed_cidrs=["127.0.0.0/8"])
STREAM_HEADERS = {"Content-Type": "text/event-stream"}
TINY_S = 0.05
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
