import asyncio
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from gateway.probes.endpoint_news import Load, load_of
from gateway.probes.endpoint_probing import RETOLD_AFTER_S, Prober
from gateway.routing.endpoint_state import HealthState
from gateway.routing.fleet import Fleet
from gateway.routing.line import Lane
from selfhosted_models.endpoints import Endpoint
from selfhosted_models.errors import UpstreamUnreachable
from selfhosted_models.models import EndpointHealth, ModelDeployment
from selfhosted_models.serving import ServingConfig
from tests.factories import make_deployment
from tests.unit.gateway import parts

pytestmark = pytest.mark.django_db(transaction=True)

SILENT_S = 30.0
URLS = ["http://10.0.4.11:8000/v1", "http://10.0.4.12:8000/v1"]
DOWN = UpstreamUnreachable("The model server of gpu1 cannot be reached.")


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Worker:
    """A worker's fleet and prober; what it probes fails if it is in `dead`, answers in `dumb`."""

    def __init__(self, clock: Clock, thread: ThreadPoolExecutor, serving: ServingConfig) -> None:
        self.serving = serving
        self.dead: set[str] = set()
        self.dumb: set[str] = set()
        self.probed: list[str] = []
        self.asked: list[str] = []
        self.fleet = Fleet(parts.door(parts.ModelServer()), now=clock, wall_clock=clock)
        self.prober = Prober(
            self.fleet, lambda: [serving], self._check, self._ask, SILENT_S, thread
        )

    async def _check(self, serving: ServingConfig, endpoint: Endpoint) -> None:
        self.probed.append(endpoint.url)
        if endpoint.url in self.dead:
            raise DOWN

    async def _ask(self, serving: ServingConfig, endpoint: Endpoint) -> None:
        self.asked.append(endpoint.url)
        if endpoint.url in self.dumb:
            raise DOWN

    def state(self, number: int) -> HealthState:
        return self.fleet.state_of("gpu1", self.serving.endpoints[number]).health.state

    def meets(self, number: int, error: UpstreamUnreachable | None = None) -> None:
        """Have a request meet the endpoint."""
        call = self.fleet.state_of("gpu1", self.serving.endpoints[number]).begin()
        if error is None:
            call.succeeded()
        else:
            call.failed(error)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def workers(clock: Clock) -> Iterator[tuple[Worker, Worker]]:
    make_deployment(name="gpu1", endpoints=URLS)
    serving = parts.serving("gpu1", endpoints=URLS)
    with ThreadPoolExecutor(1) as thread:
        yield Worker(clock, thread, serving), Worker(clock, thread, serving)
        thread.submit(connections.close_all).result()


def stored() -> dict[str, str]:
    return dict(EndpointHealth.objects.values_list("url", "state"))


async def stored_now() -> dict[str, str]:
    return await asyncio.to_thread(_stored_and_close)


def _stored_and_close() -> dict[str, str]:
    try:
        return stored()
    finally:
        connections.close_all()


async def test_silent_endpoints_are_probed_by_one_worker(
    workers: tuple[Worker, Worker],
) -> None:
    first, second = workers
    first.dead.add(URLS[1])

    await first.prober.round()
    await second.prober.round()
    await first.prober.round()

    assert (sorted(first.probed), second.probed) == (URLS, [])
    assert await stored_now() == {URLS[0]: "healthy", URLS[1]: "degraded"}


async def test_an_endpoint_with_traffic_is_not_probed(
    workers: tuple[Worker, Worker], clock: Clock
) -> None:
    first, second = workers
    second.meets(0)
    await second.prober.round()  # which makes it the prober

    second.probed.clear()
    clock.now += SILENT_S - 1
    second.meets(0)
    await second.prober.round()
    clock.now += 2
    await second.prober.round()

    assert second.probed == [URLS[1]]


async def test_what_another_found_down_is_passed_over(
    workers: tuple[Worker, Worker],
) -> None:
    first, second = workers
    for _ in range(5):
        first.meets(0, DOWN)
    await first.prober.round()

    await second.prober.round()

    assert first.state(0) is HealthState.DOWN
    assert second.fleet.choose(second.serving) == second.serving.endpoints[1]


async def test_an_open_circuit_without_traffic_is_closed_by_an_answer(
    workers: tuple[Worker, Worker], clock: Clock
) -> None:
    first, _ = workers
    first.dumb.add(URLS[0])
    for _ in range(5):
        first.meets(0, DOWN)
    await first.prober.round()

    states = []
    for _ in range(2):
        clock.now += SILENT_S + 1
        await first.prober.round()
        states.append(first.state(0))
        first.dumb.clear()

    assert states == [HealthState.DOWN, HealthState.HEALTHY]
    assert first.asked == [URLS[0]] * 2
    await first.prober.round()  # in which it tells the others
    assert (await stored_now())[URLS[0]] == "healthy"


async def test_an_answer_is_asked_for_where_another_worker_was_failed(
    workers: tuple[Worker, Worker], clock: Clock
) -> None:
    prober, other = workers
    await prober.prober.round()
    for _ in range(5):
        other.meets(0, DOWN)
    await other.prober.round()
    clock.now += SILENT_S + 1
    prober.dumb.add(URLS[0])

    await prober.prober.round()
    await prober.prober.round()  # in which it tells the others

    assert prober.asked == [URLS[0]]
    assert (await stored_now())[URLS[0]] == "degraded"


async def test_other_workers_take_a_recovered_endpoint_back_up(
    workers: tuple[Worker, Worker], clock: Clock
) -> None:
    prober, other = workers
    await prober.prober.round()
    for _ in range(5):
        other.meets(0, DOWN)
    await other.prober.round()
    before = other.state(0)

    clock.now += SILENT_S + 1
    await prober.prober.round()
    await prober.prober.round()  # in which it tells the others
    await other.prober.round()

    assert (before, other.state(0)) == (HealthState.DOWN, HealthState.HEALTHY)
    assert other.fleet.state_of("gpu1", other.serving.endpoints[0]).breaker.is_closed


async def test_a_healthy_endpoint_is_never_asked_for_an_answer(
    workers: tuple[Worker, Worker], clock: Clock
) -> None:
    first, _ = workers

    for _ in range(3):
        await first.prober.round()
        clock.now += SILENT_S + 1

    assert sorted(set(first.probed)) == URLS
    assert first.asked == []


async def test_what_is_as_it_was_is_told_now_and_then(
    workers: tuple[Worker, Worker], clock: Clock
) -> None:
    first, _ = workers
    first.meets(0)
    await first.prober.round()
    before = await asyncio.to_thread(_heard_at)

    clock.now += RETOLD_AFTER_S - 1
    first.meets(0)
    await first.prober.round()
    soon = await asyncio.to_thread(_heard_at)
    clock.now += 2
    first.meets(0)
    await first.prober.round()
    later = await asyncio.to_thread(_heard_at)

    assert soon == before
    assert later == before + RETOLD_AFTER_S + 1


def _heard_at() -> float:
    try:
        return EndpointHealth.objects.get(url=URLS[0]).heard_at.timestamp()
    finally:
        connections.close_all()


def _load() -> Load | None:
    try:
        return load_of(ModelDeployment.objects.get(), now=Clock.now)
    finally:
        connections.close_all()


async def test_what_all_workers_have_under_way_is_told_until_it_is_over(
    workers: tuple[Worker, Worker],
) -> None:
    first, second = workers
    lines = [worker.fleet.line_of(worker.serving) for worker in (first, second)]
    slots = [await line.enter(Lane.CHAT, "dana", by=math.inf) for line in lines]
    for worker in workers:
        await worker.prober.round()
    busy = await asyncio.to_thread(_load)

    for line, slot in zip(lines, slots, strict=True):
        line.leave(slot)
    for worker in workers:
        await worker.prober.round()

    assert busy is not None
    assert (busy.in_flight, busy.waiting["chat"]) == (2, 0)
    assert await asyncio.to_thread(_load) is None
