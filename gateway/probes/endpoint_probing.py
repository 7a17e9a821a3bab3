"""Health of endpoints: what requests meet is passed on, and silence is broken by cheap probes.

One worker of all probes, whoever holds the lease; the others read what it found. An endpoint with
traffic is never probed, and only of one that was in trouble is an answer of its model asked for: a
list of models does not tell that the model works again. Nothing here is on the way of a request.
"""

import asyncio
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable
from concurrent.futures import Executor

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections

from gateway.probes.endpoint_news import Exchange, Key, Load, News, exchange_news
from gateway.routing.endpoint_state import EndpointState, HealthState
from gateway.routing.fleet import Fleet
from gateway.routing.line import Lane
from selfhosted_models.endpoints import Endpoint
from selfhosted_models.errors import DeploymentError
from selfhosted_models.serving import Clocks, ServingConfig

log = structlog.get_logger(__name__)

ROUND_EVERY_S = 5.0
#: News of an endpoint that is as it was is passed on this often.
RETOLD_AFTER_S = 15.0
PROBES_AT_ONCE = 4
PROBE_CLOCKS = Clocks(connect_s=3, first_token_s=10, idle_s=5, total_s=15)

#: What a list of models does not disprove.
_TROUBLED = (HealthState.DEGRADED, HealthState.DOWN)

#: Asks an endpoint for a sign of life; raises what is wrong with it.
Check = Callable[[ServingConfig, Endpoint], Awaitable[None]]


class Prober:
    """The upkeep of one worker's knowledge of endpoints.

    Args:
        fleet: What this worker knows.
        servings: Returns the deployments as they are configured now.
        check: The cheap probe.
        check_answer: Asks for an answer of the model: the last probe, and a rare one.
        silent_s: An endpoint nobody has heard of for so long is probed; 0: none ever is.
        database_thread: Where the ORM may block.
        exchange: Tells others what was heard, and what they heard.
    """

    def __init__(
        self,
        fleet: Fleet,
        servings: Callable[[], Iterable[ServingConfig]],
        check: Check,
        check_answer: Check,
        silent_s: float,
        database_thread: Executor,
        exchange: Exchange = exchange_news,
    ) -> None:
        self._fleet = fleet
        self._servings = servings
        self._check = check
        self._check_answer = check_answer
        self._silent_s = silent_s
        self._database_thread = database_thread
        self._exchange_with_others = exchange
        self._worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._told: dict[Key, News] = {}
        self._busy: set[str] = set()

    async def round(self) -> float:
        """Pass on what was heard, learn what others have, and probe if that is this worker's job.

        Returns:
            Seconds until the next round.
        """
        places = [
            (serving, endpoint) for serving in self._servings() for endpoint in serving.endpoints
        ]
        news = [item for item in map(self._news_of, places) if item is not None]
        try:
            loads = self._loads({serving.deployment for serving, _ in places})
            known, is_prober = await self._exchange(news, loads)
        except (DatabaseError, InterfaceError) as error:
            log.warning("endpoint_news.not_exchanged", error=type(error).__name__)
        else:
            self._told.update((item.key, item) for item in news)
            self._learn(places, known)
            if is_prober and self._silent_s:
                await self._probe_silent(places, known)
        return ROUND_EVERY_S * random.uniform(0.9, 1.1)  # noqa: S311 - jitter

    def _loads(self, deployments: Collection[str]) -> list[Load]:
        """Return what this worker has under way; of those that are idle by now, once more."""
        loads = [
            Load(
                deployment=name,
                in_flight=line.in_flight,
                slots=line.limit,
                waiting={lane.name.lower(): line.waiting_in(lane) for lane in Lane},
            )
            for name, line in self._fleet.lines.items()
            if name in deployments
        ]
        told = [load for load in loads if not load.is_idle or load.deployment in self._busy]
        self._busy = {load.deployment for load in loads if not load.is_idle}
        return told

    async def _exchange(self, news: list[News], loads: list[Load]) -> tuple[dict[Key, News], bool]:
        def exchange() -> tuple[dict[Key, News], bool]:
            close_old_connections()
            try:
                return self._exchange_with_others(
                    news, loads, worker=self._worker, now=self._fleet.wall_clock()
                )
            finally:
                close_old_connections()

        return await asyncio.get_running_loop().run_in_executor(self._database_thread, exchange)

    def _news_of(self, place: tuple[ServingConfig, Endpoint]) -> News | None:
        """Return what is new of an endpoint since it was last told; None if that is nothing."""
        serving, endpoint = place
        state = self._state_of(serving, endpoint)
        if state.last_heard_at is None:
            return None
        told = self._told.get((serving.deployment, endpoint.url))
        news = News(
            deployment=serving.deployment,
            url=endpoint.url,
            state=state.health.state,
            reason=state.health.reason,
            since=state.health.since,
            heard_at=self._fleet.wall_clock() - (self._fleet.now() - state.last_heard_at),
        )
        is_same = told is not None and (told.state, told.reason) == (news.state, news.reason)
        if told is not None and is_same and news.heard_at - told.heard_at < RETOLD_AFTER_S:
            return None
        return news

    def _learn(self, places: list[tuple[ServingConfig, Endpoint]], known: dict[Key, News]) -> None:
        """Pass over what others found down, and take back up what they found well again."""
        for serving, endpoint in places:
            news = known.get((serving.deployment, endpoint.url))
            if news is None:
                continue
            state = self._state_of(serving, endpoint)
            if news.state == HealthState.DOWN:
                state.avoid_unless_heard_since(news.heard_at)
            elif news.state == HealthState.HEALTHY:
                state.recover_unless_heard_since(news.heard_at)

    async def _probe_silent(
        self, places: list[tuple[ServingConfig, Endpoint]], known: dict[Key, News]
    ) -> None:
        now = self._fleet.wall_clock()
        silent = [
            (serving, endpoint, news is not None and news.state in _TROUBLED)
            for serving, endpoint in places
            if (news := known.get((serving.deployment, endpoint.url))) is None
            or now - news.heard_at >= self._silent_s
        ]
        at_once = asyncio.Semaphore(PROBES_AT_ONCE)
        await asyncio.gather(*(self._probe(at_once, *place) for place in silent))

    async def _probe(
        self,
        at_once: asyncio.Semaphore,
        serving: ServingConfig,
        endpoint: Endpoint,
        is_in_trouble: bool,
    ) -> None:
        state = self._state_of(serving, endpoint)
        async with at_once:
            try:
                await self._check(serving, endpoint)
            except DeploymentError as error:
                state.note_failure(error)
                return
            if is_in_trouble or state.health.state in _TROUBLED or not state.breaker.is_closed:
                await self._ask_for_an_answer(state, serving, endpoint)
            else:
                state.note_success()

    async def _ask_for_an_answer(
        self, state: EndpointState, serving: ServingConfig, endpoint: Endpoint
    ) -> None:
        """Ask as one request would: through the circuit, which an answer closes."""
        if not state.breaker.lets_through:
            return
        call = state.begin()
        try:
            await self._check_answer(serving, endpoint)
        except DeploymentError as error:
            call.failed(error)
        else:
            call.succeeded()
        finally:
            call.abandoned()  # unless it has ended

    def _state_of(self, serving: ServingConfig, endpoint: Endpoint) -> EndpointState:
        return self._fleet.state_of(serving.deployment, endpoint)
