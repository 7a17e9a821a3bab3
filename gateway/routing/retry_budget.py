"""How many second attempts an endpoint may be given: retries must not multiply an overload."""

from collections.abc import Callable

from gateway.routing.rolling_counts import RollingCounts

BUDGET_SHARE = 0.1
BUDGET_WINDOW_S = 10
ALWAYS_ALLOWED = 3  # at once, however few requests there were


class RetryBudget:
    """Counts requests and retries of one endpoint.

    Args:
        now: A monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._recent = RollingCounts(BUDGET_WINDOW_S, now)
        self._running = 0

    def note_request(self) -> None:
        self._recent.add(1, 0)

    @property
    def allows_retry(self) -> bool:
        requests, retries = self._recent.totals()
        return self._running < ALWAYS_ALLOWED or retries + 1 <= BUDGET_SHARE * requests

    def begin_retry(self) -> None:
        self._running += 1
        self._recent.add(0, 1)

    def end_retry(self) -> None:
        self._running -= 1
