"""Upkeep goes on whatever happens to one step of it."""

import asyncio

import pytest
import structlog

from gateway.upkeep import keep_running
from tests.unit.gateway import virtual_time


@pytest.mark.parametrize("error", [ValueError("odd"), KeyError("odd"), OSError("away")])
def test_a_failing_step_is_logged_and_taken_again(error: Exception) -> None:
    steps: list[str] = []

    async def step() -> float:
        steps.append("taken")
        if len(steps) == 1:
            raise error
        return 60.0

    async def run_for_a_minute() -> None:
        task = asyncio.create_task(keep_running("test", step))
        await asyncio.sleep(30)
        task.cancel()

    with structlog.testing.capture_logs() as logs:
        virtual_time.run(run_for_a_minute())

    assert steps == ["taken", "taken"]
    assert [(log["event"], log["task"]) for log in logs] == [("upkeep.failed", "test")]


def test_cancelling_ends_it() -> None:
    async def step() -> float:
        return 1.0

    async def start_and_cancel() -> bool:
        task = asyncio.create_task(keep_running("test", step))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert virtual_time.run(start_and_cancel())
