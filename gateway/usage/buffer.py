"""Requests that ended and are not written down yet, in memory: all that a request itself pays."""

from dataclasses import dataclass

from gateway.exchange import Exchange
from gateway.metrics import count_unrecorded

#: As many as a busy worker serves in three minutes; each takes about a kilobyte.
CAPACITY = 10_000


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken out of a buffer.

    Attributes:
        exchanges: Oldest first; each has ended.
        unrecorded: How many there was no room for since the last time.
    """

    exchanges: list[Exchange]
    unrecorded: int


class UsageBuffer:
    """Bounded: while nothing can be written down, what does not fit is only counted."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._exchanges: list[Exchange] = []
        self._unrecorded = 0

    def add(self, exchange: Exchange) -> None:
        """Keep a request that has ended, or count it where there is no room."""
        if len(self._exchanges) < self._capacity:
            self._exchanges.append(exchange)
        else:
            self._lose(1)

    def take(self) -> Taken:
        """Take everything out."""
        taken = Taken(self._exchanges, self._unrecorded)
        self._exchanges, self._unrecorded = [], 0
        return taken

    def put_back(self, taken: Taken) -> None:
        """Keep what could not be written, as far as there still is room: the oldest are lost."""
        room = self._capacity - len(self._exchanges)
        kept = taken.exchanges[max(len(taken.exchanges) - room, 0) :]
        self._exchanges[:0] = kept
        self._unrecorded += taken.unrecorded
        self._lose(len(taken.exchanges) - len(kept))

    def discard(self, taken: Taken) -> None:
        """Count what can never be written."""
        self._unrecorded += taken.unrecorded
        self._lose(len(taken.exchanges))

    def _lose(self, count: int) -> None:
        self._unrecorded += count
        count_unrecorded(count)
