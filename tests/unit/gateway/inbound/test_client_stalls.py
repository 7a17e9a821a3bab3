"""A client that takes nothing holds a model server only so long."""

import asyncio
from typing import Any

import pytest

from gateway.inbound.write_clock import LOOK_EVERY_S, WRITE_STALL_S, ClientStalled, WriteClock
from tests.unit.gateway import virtual_time

PART = {"type": "http.response.body", "body": b"x", "more_body": True}


async def _never_takes(message: Any) -> None:
    await asyncio.Event().wait()


async def _takes_slowly(message: Any) -> None:
    await asyncio.sleep(WRITE_STALL_S - 2 * LOOK_EVERY_S)


def test_a_part_that_is_not_taken_in_time_ends_the_request() -> None:
    async def stall() -> float:
        started = asyncio.get_running_loop().time()
        with pytest.raises(ClientStalled):
            async with WriteClock(_never_takes) as write:
                await write(PART)
        return asyncio.get_running_loop().time() - started

    assert virtual_time.run(stall()) == pytest.approx(WRITE_STALL_S, abs=2 * LOOK_EVERY_S)


def test_a_slow_reader_is_served_for_as_long_as_it_reads() -> None:
    async def read_slowly() -> str:
        async with WriteClock(_takes_slowly) as write:
            for _ in range(10):
                await write(PART)
        return "served"

    assert virtual_time.run(read_slowly()) == "served"


def test_a_long_wait_for_the_model_is_not_the_clients() -> None:
    async def wait_for_the_model() -> str:
        async with WriteClock(_takes_slowly) as write:
            await write(PART)
            await asyncio.sleep(10 * WRITE_STALL_S)
            await write(PART)
        return "served"

    assert virtual_time.run(wait_for_the_model()) == "served"


def test_an_error_behind_it_comes_through() -> None:
    async def fail() -> None:
        async with WriteClock(_takes_slowly):
            raise ValueError("behind")

    with pytest.raises(ValueError, match="behind"):
        virtual_time.run(fail())
