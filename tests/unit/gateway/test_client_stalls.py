"""A client that takes nothing holds a model server only so long."""

import asyncio
from typing import Any

import pytest

from gateway.handler import WRITE_STALL_S, ClientStalled, _send_in_time
from tests.unit.gateway import virtual_time


async def _never_takes(message: Any) -> None:
    await asyncio.Event().wait()


def test_a_part_that_is_not_taken_in_time_ends_the_request() -> None:
    async def stall() -> float:
        started = asyncio.get_running_loop().time()
        with pytest.raises(ClientStalled):
            await _send_in_time(_never_takes, {"type": "http.response.body", "body": b"x"})
        return asyncio.get_running_loop().time() - started

    assert virtual_time.run(stall()) == pytest.approx(WRITE_STALL_S, abs=0.1)
