"""Work that goes on beside the requests, for as long as a worker lives."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import ParamSpec

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections

log = structlog.get_logger(__name__)

_P = ParamSpec("_P")

#: Returns how many seconds to wait before the next.
Step = Callable[[], Awaitable[float]]

RETRY_AFTER_S = 5.0


async def keep_running(name: str, step: Step) -> None:
    """Take `step` again and again.

    A step that fails in a way nobody foresaw is logged, and is not the end: a worker that serves
    from an old configuration without a word would be worse.
    """
    while True:
        try:
            wait_s = await step()
        except Exception:
            log.exception("upkeep.failed", task=name)
            wait_s = RETRY_AFTER_S
        await asyncio.sleep(wait_s)


def in_thread_with_database(work: Callable[_P, object]) -> Callable[_P, None]:
    """Return `work`, which uses the database, for a thread: it leaves no connection behind.

    A database that is away is waited for: the next call finds it back.
    """

    def do(*args: _P.args, **kwargs: _P.kwargs) -> None:
        close_old_connections()
        try:
            work(*args, **kwargs)
        except (DatabaseError, InterfaceError) as error:
            log.warning("upkeep.database_away", error=type(error).__name__)
        finally:
            close_old_connections()

    return do


def database_step(thread: Executor, work: Callable[[], object], every_s: float) -> Step:
    """Return a step that does `work`, which uses the database, in `thread`."""
    do = in_thread_with_database(work)

    async def step() -> float:
        await asyncio.get_running_loop().run_in_executor(thread, do)
        return every_s

    return step
