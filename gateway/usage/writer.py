"""Writes down, every few seconds and in a thread, what requests came to."""

import asyncio
import random
import time
from concurrent.futures import Executor

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections

from gateway.usage.buffer import Taken, UsageBuffer
from gateway.usage.store import write_down

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 5.0
#: A worker that stops waits no longer for its last batch.
LAST_WRITE_WITHIN_S = 2.0


class UsageWriter:
    """The upkeep of one worker's buffer.

    Args:
        buffer: What is written down.
        database_thread: Where the ORM may block.
    """

    def __init__(self, buffer: UsageBuffer, database_thread: Executor) -> None:
        self._buffer = buffer
        self._database_thread = database_thread

    async def round(self) -> float:
        """Write down what there is; return the seconds until the next time."""
        taken = self._buffer.take()
        if taken.exchanges or taken.unrecorded:
            await self._write(taken)
        return WRITE_EVERY_S * random.uniform(0.9, 1.1)  # noqa: S311 - jitter

    async def finish(self) -> None:
        """Write down the last of it, if the database takes it at once."""
        try:
            async with asyncio.timeout(LAST_WRITE_WITHIN_S):
                await self.round()
        except TimeoutError:
            log.warning("usage.not_written", error="the worker stops")

    async def _write(self, taken: Taken) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._database_thread, _write_and_close, taken)
        except (OperationalError, InterfaceError) as error:  # the database is away: it comes back
            self._buffer.put_back(taken)
            log.warning("usage.not_written", error=type(error).__name__)
        except DatabaseError as error:  # trying again would fail again, and hold up all others
            self._buffer.discard(taken)
            log.warning("usage.discarded", error=type(error).__name__)


def _write_and_close(taken: Taken) -> None:
    close_old_connections()
    try:
        write_down(taken, clock_offset_s=time.time() - time.monotonic())
    finally:
        close_old_connections()
