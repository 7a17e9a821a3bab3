"""Work that goes on beside the requests, for as long as a worker lives."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

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
