"""The gateway's own handler on a real socket, in the test's process: its gauges can be read.

Everything outside is real: the caller's connection, the outbound door, the model server. Only the
configuration is given, and the clock of the routing can be moved.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import uvicorn

from feature_config.catalogue import Feature
from gateway.handler import GatewayHandler
from gateway.protocol import LimitedProtocol
from gateway.routing.fleet import Fleet
from gateway.routing.limits import Limits
from gateway.routing.line import Line
from gateway.routing.quotas import Quotas
from gateway.runtime import Runtime
from selfhosted_models.endpoints import UrlPolicy
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.serving import ServingConfig
from tests.unit.gateway.parts import runtime, serving, snapshot
from tests.unit.gateway.signing import mint

COMES_TRUE_WITHIN_S = 10.0
POLL_S = 0.005


@dataclass(slots=True)
class Clock:
    """The event loop's clock, and what a test adds to it."""

    added_s: float = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.added_s


@dataclass(frozen=True, slots=True)
class OpenGateway:
    """A running gateway.

    Attributes:
        clock: Of circuits, lines, quotas; not of the outbound door.
    """

    url: str
    runtime: Runtime
    clock: Clock

    @property
    def line(self) -> Line:
        """The line of the first deployment."""
        return self.runtime.fleet.line_of(next(iter(self.runtime.snapshot.deployments.values())))

    def gauges(self) -> dict[str, int]:
        """Return everything that counts what is under way."""
        fleet, quotas = self.runtime.fleet, self.runtime.quotas
        endpoints = fleet._endpoints.values()
        return {
            "lines in flight": sum(line.in_flight for line in fleet.lines.values()),
            "lines waiting": sum(line.waiting for line in fleet.lines.values()),
            "endpoints in flight": sum(endpoint.in_flight for endpoint in endpoints),
            "retries": sum(endpoint.retry_budget._running for endpoint in endpoints),
            "worker": quotas.in_flight,
            "users": sum(user.in_flight for user in quotas._users.values()),
        }

    async def until(self, is_true: Callable[[], bool], what: str) -> None:
        """Wait for what a test has set going."""
        async with asyncio.timeout(COMES_TRUE_WITHIN_S):
            while not is_true():
                await asyncio.sleep(POLL_S)
        assert is_true(), what


async def no_gauge_is_left(gateway: OpenGateway) -> None:
    """Wait until nothing is under way."""
    await gateway.until(lambda: not any(gateway.gauges().values()), "something is left")
