"""Asynchronous work, from code that blocks: each item as it comes, and a beat while none does."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import TypeVar

#: How often whoever waits gets a word in: to renew a lease, to look whether it was cancelled.
BEAT_S = 1.0

T = TypeVar("T")


def with_beats(items: AsyncGenerator[T, None]) -> Generator[T | None, None, None]:
    """Yield each of `items` as soon as it is there, and None every second without one.

    The event loop stands still while the caller holds an item, so that the caller may block: for
    the few milliseconds that a row takes. Closing the generator cancels what is under way.
    """
    with asyncio.Runner() as runner:
        upcoming: asyncio.Task[T | None] | None = None
        try:
            while True:
                if upcoming is None:
                    upcoming = runner.get_loop().create_task(_next_of(items))
                runner.run(_wait_for(upcoming))
                if not upcoming.done():
                    yield None
                elif (item := upcoming.result()) is None:
                    return
                else:
                    upcoming = None
                    yield item
        finally:
            runner.run(_close(items, upcoming))


async def _next_of(items: AsyncGenerator[T, None]) -> T | None:
    return await anext(items, None)


async def _wait_for(upcoming: asyncio.Task[T | None]) -> None:
    await asyncio.wait({upcoming}, timeout=BEAT_S)


async def _close(items: AsyncGenerator[T, None], upcoming: asyncio.Task[T | None] | None) -> None:
    if upcoming is not None:
        upcoming.cancel()
        await asyncio.wait({upcoming})
    await items.aclose()
