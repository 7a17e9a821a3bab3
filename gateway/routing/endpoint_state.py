"""One endpoint as this worker knows it: its load, its circuit, its health and why.

What real requests meet is the best news there is, and costs nothing; probes fill the silence.
"""

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gateway.routing.breaker import Breaker
from gateway.routing.retry_budget import RetryBudget
from selfhosted_models.errors import DeploymentError, EndpointRefused, UpstreamRejected

#: An endpoint that refuses our requests (wrong key, unknown model) is passed over for so long.
AVOIDED_FOR_S = 30.0
#: A server that has just answered somebody else is not failing: this user's requests are.
ANSWERS_OTHERS_WITHIN_S = 3.0
HISTORY_LENGTH = 20

#: Statuses that say what is wrong with our request, not that the server is failing.
_REFUSALS = frozenset({401, 403, 404})


class HealthState(StrEnum):
    STARTING = "starting"  # nothing is known yet
    HEALTHY = "healthy"
    DEGRADED = "degraded"  # it answers, not always
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Health:
    """The state of an endpoint.

    Attributes:
        reason: What happened and what to do; "" while all is well.
        since: Wall-clock time of the change, in seconds.
    """

    state: HealthState
    reason: str
    since: float


class Call:
    """One request under way at an endpoint; ended exactly once, whichever way it ends."""

    def __init__(
        self, endpoint: "EndpointState", trial: object | None, user: str, *, is_retry: bool
    ) -> None:
        self._endpoint = endpoint
        self._trial = trial
        self._user = user
        self._is_retry = is_retry
        self._is_over = False

    def answers(self) -> None:
        """Note that an answer has begun: the server works, however long it goes on."""
        if not self._is_over:
            self._trial = None
            self._endpoint.note_success(self._user)

    def succeeded(self) -> None:
        if self._end():
            self._endpoint.note_success(self._user)

    def failed(self, error: DeploymentError) -> None:
        if self._end():
            self._endpoint.note_failure(error, self._user, trial=self._trial)

    def abandoned(self) -> None:
        """End it without a verdict: the client left, or our own worker stops."""
        if self._end():
            self._endpoint.breaker.abandoned(self._trial)

    def _end(self) -> bool:
        if self._is_over:
            return False
        self._is_over = True
        self._endpoint.in_flight -= 1
        if self._is_retry:
            self._endpoint.retry_budget.end_retry()
        return True


class EndpointState:
    """What one worker knows of one endpoint of one deployment.

    Args:
        breaker_failures: Consecutive failures that open its circuit; 0 never does.
        now: A monotonic clock, in seconds.
        wall_clock: Seconds since 1970, for what people read.
        draw: Returns 0 to 1, evenly.

    Attributes:
        in_flight: Requests of this worker it is working on.
        history: The last changes of its health, oldest first; the last one is `health`.
        last_heard_at: When it last told something about itself, on the monotonic clock.
    """

    def __init__(
        self,
        breaker_failures: int,
        now: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._now = now
        self._wall_clock = wall_clock
        self._avoided_until = 0.0
        self._answered: dict[str, float] = {}  # when the last two users were answered
        self.in_flight = 0
        self.breaker = Breaker(now, breaker_failures, draw)
        self.retry_budget = RetryBudget(now)
        self.history = deque([Health(HealthState.STARTING, "", wall_clock())], HISTORY_LENGTH)
        self.last_heard_at: float | None = None

    @property
    def health(self) -> Health:
        return self.history[-1]

    @property
    def is_avoided(self) -> bool:
        """Whether another endpoint, if there is one, should be asked first."""
        return self._now() < self._avoided_until

    def begin(self, user: str = "", *, is_retry: bool = False) -> Call:
        """Note that a request of `user` is sent; "" is nobody in particular."""
        self.in_flight += 1
        if is_retry:
            self.retry_budget.begin_retry()
        else:
            self.retry_budget.note_request()
        return Call(self, self.breaker.begin(), user, is_retry=is_retry)

    def note_success(self, user: str = "") -> None:
        """It answered a request."""
        self.breaker.succeeded()
        self._answered.pop(user, None)
        self._answered[user] = self._now()
        if len(self._answered) > 2:
            del self._answered[next(iter(self._answered))]
        self._avoided_until = 0.0
        self.last_heard_at = self._now()
        has_recovered = not self.breaker.has_recent_failures
        if has_recovered or self.health.state is not HealthState.DEGRADED:
            self._change(HealthState.HEALTHY, "")

    def note_failure(
        self, error: DeploymentError, user: str = "", *, trial: object | None = None
    ) -> None:
        """It failed a request, or a probe."""
        self.last_heard_at = self._now()
        if is_server_failure(error) and trial is None and self._answers_others(user):
            # What only this user's requests meet must not close it to everybody.
            self._change(HealthState.DEGRADED, error.admin_message)
        elif is_server_failure(error):
            self.breaker.failed(trial)
            state = HealthState.DEGRADED if self.breaker.is_closed else HealthState.DOWN
            self._change(state, error.admin_message)
        else:
            self.breaker.abandoned(trial)
            self._note_refusal(error)

    def _answers_others(self, user: str) -> bool:
        since = self._now() - ANSWERS_OTHERS_WITHIN_S
        return any(name != user and at >= since for name, at in self._answered.items())

    def _note_refusal(self, error: DeploymentError) -> None:
        if _refuses_us(error):
            self._avoided_until = self._now() + AVOIDED_FOR_S
            self._change(HealthState.DOWN, error.admin_message)
        elif isinstance(error, UpstreamRejected) and error.status == 429:
            self._change(HealthState.DEGRADED, error.admin_message)

    def avoid_unless_heard_since(self, heard_at: float) -> None:
        """Ask another endpoint first for a while: another worker found this one down.

        Args:
            heard_at: When it did, in seconds since 1970; what was heard here later counts more.
        """
        if not self._has_heard_since(heard_at):
            self._avoided_until = self._now() + AVOIDED_FOR_S

    def recover_unless_heard_since(self, heard_at: float) -> None:
        """Take it for healthy, as another worker does since `heard_at`, in seconds since 1970.

        Where this worker has traffic, it has heard something since, and that counts more.
        """
        if self.health.state in {HealthState.DEGRADED, HealthState.DOWN} and not (
            self._has_heard_since(heard_at)
        ):
            self.breaker.succeeded()
            self._avoided_until = 0.0
            self._change(HealthState.HEALTHY, "")

    def _has_heard_since(self, wall_time: float) -> bool:
        if self.last_heard_at is None:
            return False
        return self._wall_clock() - (self._now() - self.last_heard_at) >= wall_time

    def _change(self, state: HealthState, reason: str) -> None:
        if state is not self.health.state or reason != self.health.reason:
            self.history.append(Health(state, reason, self._wall_clock()))


def is_server_failure(error: DeploymentError) -> bool:
    """Tell whether `error` says that the server is failing: it counts for its circuit."""
    if isinstance(error, UpstreamRejected):
        return error.status >= 500 or error.is_overloaded
    return not isinstance(error, EndpointRefused)


def _refuses_us(error: DeploymentError) -> bool:
    if isinstance(error, EndpointRefused):
        return True
    return isinstance(error, UpstreamRejected) and error.status in _REFUSALS
