"""What one user may ask of one worker, so that a runaway script does not starve the others."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from gateway.routing.errors import QuotaExceeded, WorkerBusy
from gateway.routing.limits import Limits

#: Users remembered; past that, those who have asked nothing for a minute are forgotten.
MAX_USERS = 10_000
_MINUTE_S = 60.0


@dataclass(slots=True)
class _User:
    allowance: float
    counted_at: float
    in_flight: int = 0


class Quotas:
    """Counts requests of users, and of the worker.

    Args:
        now: A monotonic clock, in seconds.
    """

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._users: dict[str, _User] = {}
        self.in_flight = 0

    def enter(self, user: str) -> "Turn":
        """Count a request of `user`, "" being nobody in particular, until the turn is over.

        Raises:
            QuotaExceeded: The user has as many under way, or made as many lately, as one may.
            WorkerBusy: This worker has its hands full, whoever asks.
        """
        if self.in_flight >= self._limits.worker_in_flight:
            raise WorkerBusy
        counted = self._count(user) if user else None
        self.in_flight += 1
        return Turn(self, counted)

    def _count(self, name: str) -> _User:
        user = self._known(name)
        limits = self._limits
        if limits.user_in_flight and user.in_flight >= limits.user_in_flight:
            raise QuotaExceeded(f"{limits.user_in_flight} requests at once", retry_after_s=1)
        if limits.user_per_minute:
            if user.allowance < 1:
                wait_s = (1 - user.allowance) * _MINUTE_S / limits.user_per_minute
                raise QuotaExceeded(
                    f"{limits.user_per_minute} requests a minute", retry_after_s=math.ceil(wait_s)
                )
            user.allowance -= 1
        user.in_flight += 1
        return user

    def _known(self, name: str) -> _User:
        now, per_minute = self._now(), self._limits.user_per_minute
        user = self._users.get(name)
        if user is None:
            if len(self._users) >= MAX_USERS:
                self._forget(now)
            user = self._users[name] = _User(per_minute, now)
        earned = (now - user.counted_at) * per_minute / _MINUTE_S
        user.allowance = min(per_minute, user.allowance + earned)
        user.counted_at = now
        return user

    def _forget(self, now: float) -> None:
        self._users = {
            name: user
            for name, user in self._users.items()
            if user.in_flight or now - user.counted_at < _MINUTE_S
        }


@dataclass(frozen=True, slots=True)
class Turn:
    """One request that is counted."""

    _quotas: Quotas
    _user: _User | None

    def leave(self) -> None:
        """Count it no more; once."""
        self._quotas.in_flight -= 1
        if self._user is not None:
            self._user.in_flight -= 1
