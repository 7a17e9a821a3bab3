"""How often two things happened in the last seconds."""

from collections import deque
from collections.abc import Callable


class RollingCounts:
    """Two counters over a sliding window, kept by whole seconds: bounded memory, cheap to bump.

    Args:
        window_s: Length of the window, in whole seconds.
        now: A monotonic clock, in seconds.
    """

    def __init__(self, window_s: int, now: Callable[[], float]) -> None:
        self._window_s = window_s
        self._now = now
        self._seconds: deque[list[int]] = deque()  # [second, first count, second count]
        self._totals = [0, 0]

    def add(self, first: int = 0, second: int = 0) -> None:
        self._forget()
        second_now = int(self._now())
        if not self._seconds or self._seconds[-1][0] != second_now:
            self._seconds.append([second_now, 0, 0])
        self._seconds[-1][1] += first
        self._seconds[-1][2] += second
        self._totals[0] += first
        self._totals[1] += second

    def totals(self) -> tuple[int, int]:
        """Return both counts of the window."""
        self._forget()
        return self._totals[0], self._totals[1]

    def clear(self) -> None:
        self._seconds.clear()
        self._totals = [0, 0]

    def _forget(self) -> None:
        oldest = int(self._now()) - self._window_s
        while self._seconds and self._seconds[0][0] <= oldest:
            _, first, second = self._seconds.popleft()
            self._totals[0] -= first
            self._totals[1] -= second
