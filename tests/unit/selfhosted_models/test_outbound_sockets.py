"""The door to other servers, on real sockets."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from selfhosted_models.errors import (
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.serving import Clocks
from tests.fakes.loopback import json_body
from tests.fakes.model_server import ModelServer, Script
from tests.unit.selfhosted_models.doors import (
    LOOPBACK_ALLOWED,
    chat_request,
    events,
    fetch,
    on_sockets,
    open_stream,
    request_to,
    soon,
    was_closed,
)


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
