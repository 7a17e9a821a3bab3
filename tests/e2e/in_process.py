"""The gateway's own handler on a real socket, in the test's process: its gauges can be read.

The caller's connection, the outbound door and the model server are real. Only the configuration is
given, and the clock of circuits, lines and quotas can be moved.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx
import uvicorn

from feature_config.catalogue import Feature
from gateway.inbound.handler import GatewayHandler
from gateway.inbound.protocol import LimitedProtocol
from gateway.routing.fleet import Fleet
from gateway.routing.limits import Limits
from gateway.routing.line import Line
from gateway.routing.quotas import Quotas
from gateway.runtime import Runtime
from selfhosted_models.endpoints import UrlPolicy
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.serving import ServingConfig
from tests.e2e.callers import CHAT
from tests.unit.gateway import parts
from tests.unit.gateway.signing import headers, mint

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
    """A running gateway, and a client of it."""

    runtime: Runtime
    clock: Clock
    client: httpx.AsyncClient

    @property
    def line(self) -> Line:
        """The line of the first choice."""
        first = next(iter(self.runtime.snapshot.deployments.values()))
        return self.runtime.fleet.line_of(first)

    def gauges(self) -> dict[str, int]:
        """Return everything that counts what is under way."""
        fleet, quotas = self.runtime.fleet, self.runtime.quotas
        endpoints = [
            fleet.state_of(serving.deployment, endpoint)
            for serving in self.runtime.snapshot.deployments.values()
            for endpoint in serving.endpoints
        ]
        return {
            "in flight": sum(line.in_flight for line in fleet.lines.values()),
            "waiting": sum(line.waiting for line in fleet.lines.values()),
            "at endpoints": sum(endpoint.in_flight for endpoint in endpoints),
            "second attempts": sum(endpoint.retry_budget._running for endpoint in endpoints),
            "of the worker": quotas.in_flight,
            "of users": sum(user.in_flight for user in quotas._users.values()),
        }

    async def ask(self, text: str = "Hello", *, user: str = "alice", stream: bool = True) -> str:
        """Chat, and return all that came; a task that asks is a client that can leave."""
        response = await self.post(text, user=user, stream=stream)
        return response.text

    async def post(
        self, text: str = "Hello", *, user: str = "alice", stream: bool = False
    ) -> httpx.Response:
        body = {**CHAT.streamed(stream), "messages": [{"role": "user", "content": text}]}
        sent = {"X-Gitlab-Global-User-Id": user}
        return await self.client.post(CHAT.path, json=body, headers=sent)

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait for what a test has set going."""
        async with asyncio.timeout(COMES_TRUE_WITHIN_S):
            while not is_true():  # noqa: ASYNC110 - gauges are plain numbers
                await asyncio.sleep(POLL_S)

    async def until_idle(self) -> None:
        """Wait until no gauge counts anything; a leak shows which."""
        try:
            await self.until(lambda: not any(self.gauges().values()))
        except TimeoutError:
            raise AssertionError(f"left over: {self.gauges()}") from None


@asynccontextmanager
async def open_gateway(
    deployments: Sequence[ServingConfig], limits: Limits | None = None
) -> AsyncIterator[OpenGateway]:
    """Serve chats from `deployments`, first choice first, on a free port of loopback."""
    clock = Clock()
    limits = limits or Limits(user_in_flight=0, user_per_minute=0)
    names = [deployment.deployment for deployment in deployments]
    door = OutboundDoor(UrlPolicy(allowed_hosts=["127.0.0.1"]))
    runtime = replace(
        parts.runtime(
            parts.ModelServer(AssertionError("the door of the parts is not used")),
            parts.snapshot(deployments, {Feature.DUO_CHAT: names}),
        ),
        fleet=Fleet(door, limits, now=clock),
        quotas=Quotas(limits, clock),
    )
    server = uvicorn.Server(
        uvicorn.Config(
            GatewayHandler(runtime),
            http=LimitedProtocol,
            lifespan="off",
            log_config=None,
            ws="none",
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with httpx.AsyncClient(
                base_url=url,
                headers=headers(mint()),
                timeout=60,
                limits=httpx.Limits(max_keepalive_connections=0),
            ) as client:
                yield OpenGateway(runtime, clock, client)
        finally:
            server.should_exit = server.force_exit = True
            await serving
            await runtime.aclose()
