"""Reads of an answer, and what ends them, in a loop that jumps over the waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from selfhosted_models.read_clock import ReadClock
from tests.unit.gateway import virtual_time


async def parts(*pauses_s: float) -> AsyncIterator[bytes]:
    """Yield a part after each pause."""
    for pause_s in pauses_s:
        await asyncio.sleep(pause_s)
        yield b"part"


def now() -> float:
    return asyncio.get_running_loop().time()


async def read_all(clock: ReadClock, within_s: float) -> list[float]:
    """Return when each part came; every read has as long."""
    start = now()
    came: list[float] = []
    while await clock.read(by=now() + within_s) is not None:
        came.append(round(now() - start))
    return came


def test_each_read_has_a_deadline_of_its_own() -> None:
    async def main() -> list[float]:
        with closing(ReadClock(parts(20, 25, 20, 29))) as clock:
            return await read_all(clock, 30)

    assert virtual_time.run(main()) == [20, 45, 65, 94]


@pytest.mark.parametrize("pauses", [(40,), (1, 1, 40), (25, 25, 40)], ids=str)
def test_read_that_takes_too_long_ends_at_its_deadline(pauses: tuple[float, ...]) -> None:
    async def main() -> float:
        with closing(ReadClock(parts(*pauses))) as clock:
            start = now()
            with pytest.raises(TimeoutError):
                await read_all(clock, 30)
            return now() - start

    assert virtual_time.run(main()) == pytest.approx(sum(pauses[:-1]) + 30, abs=0.5)


def test_later_deadline_may_be_the_shorter_wait() -> None:
    """As after the first event, which has longer than the next."""

    async def main() -> float:
        with closing(ReadClock(parts(1, 50))) as clock:
            start = now()
            await clock.read(by=start + 60)
            with pytest.raises(TimeoutError):
                await clock.read(by=now() + 5)
            return now() - start

    assert virtual_time.run(main()) == pytest.approx(6, abs=0.5)


def test_time_between_reads_is_not_counted() -> None:
    async def main() -> list[bytes | None]:
        with closing(ReadClock(parts(1, 1))) as clock:
            first = await clock.read(by=now() + 5)
            await asyncio.sleep(100)
            return [first, await clock.read(by=now() + 5), await clock.read(by=now() + 5)]

    assert virtual_time.run(main()) == [b"part", b"part", None]


def test_cancelled_reader_is_cancelled_and_not_late() -> None:
    async def main() -> None:
        with closing(ReadClock(parts(100))) as clock:
            reading = asyncio.create_task(read_all(clock, 30))
            await asyncio.sleep(1)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

    virtual_time.run(main())


def test_whoever_else_ends_the_read_at_the_same_time_has_the_last_word() -> None:
    async def main() -> None:
        with closing(ReadClock(parts(100))) as clock:
            deadline = now() + 30
            reading = asyncio.create_task(clock.read(by=deadline))
            asyncio.get_running_loop().call_at(deadline, reading.cancel)
            with pytest.raises(asyncio.CancelledError):
                await reading

    virtual_time.run(main())


def test_timeout_around_a_read_is_its_owners() -> None:
    async def main() -> None:
        with closing(ReadClock(parts(100))) as clock:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await clock.read(by=now() + 30)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

    virtual_time.run(main())


def test_different_tasks_may_read_one_after_the_other() -> None:
    async def main() -> tuple[bytes | None, str]:
        with closing(ReadClock(parts(1, 100))) as clock:
            first = await asyncio.create_task(clock.read(by=now() + 60))
            try:
                await clock.read(by=now() + 30)
            except TimeoutError:
                return first, "late"
            return first, "in time"

    assert virtual_time.run(main()) == (b"part", "late")
