"""The circuit breaker of one endpoint: after enough failures it is left alone for a while.

Its state lives in the worker, never in Redis: an outage of Redis must not change what model servers
see.
"""

import random
from collections.abc import Callable

from gateway.routing.rolling_counts import RollingCounts

OPENS_AT_FAILURE_SHARE = 0.5
SHARE_NEEDS_REQUESTS = 20
SHARE_WINDOW_S = 30
FIRST_OPEN_S = 10.0
LONGEST_OPEN_S = 120.0
JITTER = 0.2


class Breaker:
    """Closed lets all through; open none; once its time is over, one trial at a time.

    Args:
        now: A monotonic clock, in seconds.
        failures: So many in a row open it; 0 leaves it closed whatever happens.
        draw: Returns 0 to 1, evenly: spreads the trials of many workers.
    """

    def __init__(
        self,
        now: Callable[[], float],
        failures: int,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._now = now
        self._failures = failures
        self._draw = draw
        self._recent = RollingCounts(SHARE_WINDOW_S, now)
        self._consecutive = 0
        self._open_s = FIRST_OPEN_S
        self._opens_until: float | None = None
        self._trial: object | None = None

    @property
    def is_closed(self) -> bool:
        return self._opens_until is None

    @property
    def has_recent_failures(self) -> bool:
        return self._recent.totals()[1] > 0

    @property
    def lets_through(self) -> bool:
        """Whether a request may be sent now: the circuit is closed, or ripe for a trial."""
        if self._opens_until is None:
            return True
        return self._trial is None and self._now() >= self._opens_until

    @property
    def opens_again_in_s(self) -> float:
        """Seconds until the next trial; 0 when one may be made now."""
        return 0.0 if self._opens_until is None else max(0.0, self._opens_until - self._now())

    def begin(self) -> object | None:
        """Note that a request is sent; returns the trial it is if the circuit is open, else None.

        Only one that is let through may begin.
        """
        if not self.is_closed:
            self._trial = object()
        return self._trial

    def succeeded(self) -> None:
        """Close: the server answers."""
        if not self.is_closed:
            self._recent.clear()
        self._opens_until = None
        self._trial = None
        self._open_s = FIRST_OPEN_S
        self._consecutive = 0
        self._recent.add(1, 0)

    def failed(self, trial: object | None = None) -> None:
        """Count a failure of the server, and open if it is one too many."""
        self._consecutive += 1
        self._recent.add(1, 1)
        if self._is_under_way(trial):
            self._trial = None
            self._open_s = min(2 * self._open_s, LONGEST_OPEN_S)
            self._open()
        elif self.is_closed and self._is_one_too_many():
            self._open()

    def abandoned(self, trial: object | None) -> None:
        """Forget a request that told nothing about the server: the client left, a 4xx."""
        if self._is_under_way(trial):
            self._trial = None

    def _is_under_way(self, trial: object | None) -> bool:
        """Tell whether `trial` is one, and of this opening: late successes close circuits too."""
        return trial is not None and trial is self._trial

    def _is_one_too_many(self) -> bool:
        if not self._failures:
            return False
        requests, failures = self._recent.totals()
        is_share_reached = failures >= OPENS_AT_FAILURE_SHARE * requests
        return self._consecutive >= self._failures or (
            requests >= SHARE_NEEDS_REQUESTS and is_share_reached
        )

    def _open(self) -> None:
        spread = 1 + JITTER * (2 * self._draw() - 1)
        self._opens_until = self._now() + self._open_s * spread
