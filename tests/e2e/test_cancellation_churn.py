"""Requests cancelled at random must not cost the door its connections (decision 0003)."""

import asyncio
import random
from contextlib import aclosing, suppress

from selfhosted_models.endpoints import UrlPolicy, parse_endpoint
from selfhosted_models.errors import UpstreamError
from selfhosted_models.framing import SERVER_SENT_EVENTS
from selfhosted_models.outbound import OutboundDoor, OutboundRequest
from selfhosted_models.serving import Clocks
from tests.fakes.model_server import ModelServer, Script

TASKS = 20
REQUESTS_EACH = 40
CLOCKS = Clocks(connect_s=2, first_token_s=5, idle_s=5, total_s=30)


async def test_the_door_serves_on_after_requests_were_cancelled_at_random(
    model_server: ModelServer,
) -> None:
    model_server.answer_with(Script(chunks=("piece ",) * 20, gap_s=0.002))
    request = OutboundRequest(
        hop="The model server",
        endpoint=parse_endpoint(model_server.endpoint),
        path="/chat/completions",
        headers={"Content-Type": "application/json"},
        body=b'{"model": "m", "messages": [], "stream": true}',
    )
    door = OutboundDoor(UrlPolicy(allowed_hosts=["127.0.0.1"]))
    seeded = random.Random(7)  # noqa: S311 - repeatable, not secret

    async def read_to_the_end() -> int:
        loop = asyncio.get_running_loop()
        by = loop.time() + CLOCKS.first_token_s
        stream = await door.open_stream(request, CLOCKS, headers_by=by, framings=SERVER_SENT_EVENTS)
        async with aclosing(stream):
            return sum([1 async for _ in stream.events(first_event_by=by)])

    async def leave_at_random() -> None:
        for _ in range(REQUESTS_EACH):
            with suppress(TimeoutError, UpstreamError):
                async with asyncio.timeout(seeded.choice([0, 0.001, 0.005, 0.03, 0.06])):
                    await read_to_the_end()

    await asyncio.gather(*(leave_at_random() for _ in range(TASKS)))
    counts = await asyncio.gather(*(read_to_the_end() for _ in range(5)))
    await door.aclose()

    assert len(set(counts)) == 1
    assert counts[0] > 20
    abandoned = [item for item in model_server.exchanges if not item.completed.is_set()]
    assert all(exchange.closed_by_peer.wait(1) for exchange in abandoned)
