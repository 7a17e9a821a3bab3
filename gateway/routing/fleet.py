"""The model servers as one worker knows them: the door to them, their lines and their health.

It outlives the serving snapshots: a change of the configuration forgets nobody's circuit.
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from gateway.routing.endpoint_state import EndpointState
from gateway.routing.limits import Limits
from gateway.routing.line import Line
from selfhosted_models.endpoints import Endpoint
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.serving import ServingConfig

#: Callers may bring servers of their own (GATEWAY_MODEL_METADATA=allow): so many are remembered.
MAX_REMEMBERED = 1024


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Fleet:
    """Every deployment asked so far.

    Attributes:
        door: To model servers.
        now: The event loop's clock, in seconds.
        wall_clock: Seconds since 1970, for what people read.
        registered: Deployment and URL of the endpoints that are configured; callers may bring more.
        asks_for_streams: Whether model servers may be asked to stream at all.
        is_leasing: Whether slots are leased from Redis, so that a line begins without any.
        slots_wanted: Set when a request has to wait.
        endpoints: What is known of each, by deployment and URL.
        lines: By deployment.
    """

    door: OutboundDoor
    limits: Limits = Limits()
    now: Callable[[], float] = _loop_time
    wall_clock: Callable[[], float] = time.time
    endpoints: dict[tuple[str, str], EndpointState] = field(default_factory=dict)
    registered: set[tuple[str, str]] = field(default_factory=set)
    asks_for_streams: bool = True
    is_leasing: bool = False
    slots_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    lines: dict[str, Line] = field(default_factory=dict)

    def state_of(self, deployment: str, endpoint: Endpoint) -> EndpointState:
        """Return what is known of `endpoint`; it begins when it is first asked for."""
        key = (deployment, endpoint.url)
        found = self.endpoints.get(key)
        if found is None:
            self._forget_idle()
            found = self.endpoints[key] = EndpointState(
                self.limits.breaker_failures, self.now, self.wall_clock
            )
        return found

    def line_of(self, serving: ServingConfig) -> Line:
        """Return the line before `serving`."""
        found = self.lines.get(serving.deployment)
        if found is None:
            found = Line(serving.deployment, self.limits, self.now, self.slots_wanted.set)
            self.lines[serving.deployment] = found
            self._set_cap(found, serving.max_in_flight)
        return found

    def local_share(self, cap: int) -> int:
        """Return this worker's part of a cap where nobody leases slots; at least one."""
        return max(1, cap // self.limits.workers)

    def _set_cap(self, line: Line, cap: int) -> None:
        line.cap = cap
        if not self.is_leasing:
            line.lend(self.local_share(cap))

    def choose(
        self, serving: ServingConfig, *, tried: Collection[Endpoint] = ()
    ) -> Endpoint | None:
        """Return the endpoint to ask: the less loaded of two drawn at random.

        Endpoints with an open circuit and those in `tried` are left out; None if none is left.
        Source: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001.
        """
        states = {
            endpoint: self.state_of(serving.deployment, endpoint)
            for endpoint in serving.endpoints
            if endpoint not in tried
        }
        ready = [endpoint for endpoint, state in states.items() if state.breaker.lets_through]
        preferred = [endpoint for endpoint in ready if not states[endpoint].is_avoided] or ready
        if len(preferred) < 2:
            return preferred[0] if preferred else None
        # By weight, so that requests that come one by one are shared out too; it wins a tie.
        (drawn,) = random.choices(preferred, [endpoint.weight for endpoint in preferred])  # noqa: S311
        other = random.choice([endpoint for endpoint in preferred if endpoint is not drawn])  # noqa: S311
        return min(drawn, other, key=lambda endpoint: states[endpoint].in_flight / endpoint.weight)

    def opens_again_in_s(self, serving: ServingConfig) -> float:
        """Return the seconds until an endpoint of `serving` may be tried again."""
        waits = (
            self.state_of(serving.deployment, endpoint).breaker.opens_again_in_s
            for endpoint in serving.endpoints
        )
        return min(waits, default=0.0)

    def take_over(self, servings: Iterable[ServingConfig]) -> None:
        """Follow a new configuration: new limits; what is not in it and idle is forgotten."""
        kept = {serving.deployment: serving for serving in servings}
        self.registered = {
            (name, endpoint.url) for name, serving in kept.items() for endpoint in serving.endpoints
        }
        for serving in kept.values():
            self._set_cap(self.line_of(serving), serving.max_in_flight)
        for name, line in list(self.lines.items()):
            if name not in kept and line.is_idle:
                del self.lines[name]
        for key, state in list(self.endpoints.items()):
            if key not in self.registered and not state.in_flight:
                del self.endpoints[key]

    def _forget_idle(self) -> None:
        """Make room for one more server that callers brought."""
        if len(self.endpoints) >= MAX_REMEMBERED:
            idle = (
                key
                for key, state in self.endpoints.items()
                if key not in self.registered and not state.in_flight
            )
            if (oldest := next(idle, None)) is not None:
                del self.endpoints[oldest]
        if len(self.lines) >= MAX_REMEMBERED:
            empty = (name for name, line in self.lines.items() if line.is_idle)
            if (first := next(empty, None)) is not None:
                del self.lines[first]
