"""A deadline for each read of an answer, with one timer for all of them."""

import asyncio
import math
from collections.abc import AsyncIterator


class ReadClock:
    """Reads the parts of one answer, one at a time; a read that takes too long is ended.

    One timer looks, when it is due, whether the deadline has moved on meanwhile: it nearly always
    has. A time-out around each read would cost more than the reading.
    """

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf
        self._deadline = math.inf
        self._reader: asyncio.Task[object] | None = None
        self._is_too_late = False

    async def read(self, *, by: float) -> bytes | None:
        """Return the next part, None at the end.

        Args:
            by: Loop time at which the wait ends.

        Raises:
            TimeoutError: It has; there is nothing more to read.
        """
        reader = asyncio.current_task()
        if reader is None:
            raise RuntimeError("a read is a part of a task")
        cancelling = reader.cancelling()
        self._reader, self._deadline = reader, by
        if by < self._looks_at:
            self._look_at(by)
        try:
            return await anext(self._parts, None)
        except asyncio.CancelledError:
            # As asyncio's own time-outs do: whoever else cancelled the task has the last word.
            if self._is_too_late and reader.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._reader = None

    def close(self) -> None:
        """Stop looking. Closing twice is fine."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_at(self, when: float) -> None:
        self.close()
        self._looks_at = when
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._looks_at = math.inf
        if self._reader is None:
            return  # nobody waits; the next read sets the timer
        if self._loop.time() < self._deadline:
            self._look_at(self._deadline)
        else:
            self._is_too_late = True
            self._reader.cancel()
