"""Workers lease the slots of a deployment from a real Valkey."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest
import redis.asyncio

from gateway import doors
from gateway.probes.measuring import findings_of
from gateway.routing.fleet import Fleet
from gateway.routing.leases import KEY_PREFIX, SlotLeases
from gateway.routing.limits import Limits
from gateway.routing.line import Lane, Line, Slot
from selfhosted_models.endpoints import UrlPolicy, parse_endpoint
from selfhosted_models.families import ModelFamily
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.probing.results import State, Trait
from selfhosted_models.serving import ServingConfig
from tests.fakes.model_server import MODEL, ModelServer

CAP = 8
LEASE_S = 2.0  # a loaded machine stalls for half a second
FOREVER_S = 1e9
_names = (f"scarce-{number}" for number in itertools.count())


class Worker:
    """One worker's lines and leases; its clock is the test's."""

    def __init__(self, redis_url: str, serving: ServingConfig, clock: Callable[[], float]) -> None:
        door = OutboundDoor(
            UrlPolicy(), transport=httpx.MockTransport(lambda _: httpx.Response(500))
        )
        limits = Limits(workers=4, queue_size=100, queue_wait_s=FOREVER_S)
        self.serving = serving
        self.fleet = Fleet(door, limits, now=clock, is_leasing=True)
        self.leases = SlotLeases(redis_url, self.fleet, LEASE_S)
        self.line: Line = self.fleet.line_of(serving)
        self.waiting: list[asyncio.Task[Slot]] = []

    async def wants(self, requests: int) -> None:
        """Have so many more requests join the line."""
        for number in range(requests):
            entering = self.line.enter(Lane.CHAT, f"user-{number}", by=FOREVER_S)
            self.waiting.append(asyncio.ensure_future(entering))
        await asyncio.sleep(0)

    async def ends(self, requests: int) -> None:
        for _ in range(requests):
            admitted = next(task for task in self.waiting if task.done())
            self.waiting.remove(admitted)
            self.line.leave(admitted.result())
        await asyncio.sleep(0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def workers(valkey_url: str, clock: Clock) -> AsyncIterator[list[Worker]]:
    serving = ServingConfig(
        deployment=next(_names),
        family=ModelFamily.GENERAL,
        serving_format="openai_chat",
        endpoints=(parse_endpoint("http://10.0.0.1/v1"),),
        model_identifier="m",
        max_in_flight=CAP,
    )
    async with AsyncExitStack() as stack:
        team = [Worker(valkey_url, serving, clock) for _ in range(4)]
        for worker in team:
            stack.push_async_callback(worker.leases.aclose)
        yield team
        for task in (task for worker in team for task in worker.waiting):
            task.cancel()


async def settle(workers: list[Worker], rounds: int = 6) -> None:
    for _ in range(rounds):
        for worker in workers:
            await worker.leases.renew()
            assert sum(other.line.limit for other in workers) <= CAP
        await asyncio.sleep(0)


def limits(workers: list[Worker]) -> list[int]:
    return [worker.line.limit for worker in workers]


async def test_at_rest_each_holds_its_share(workers: list[Worker]) -> None:
    await settle(workers)

    assert limits(workers) == [2, 2, 2, 2]


async def test_a_busy_worker_borrows_what_the_others_do_not_need(workers: list[Worker]) -> None:
    await settle(workers)

    await workers[0].wants(20)
    await settle(workers)

    assert limits(workers) == [8, 0, 0, 0]
    assert workers[0].line.in_flight == 8


async def test_what_was_borrowed_comes_back_as_requests_end(workers: list[Worker]) -> None:
    await workers[0].wants(20)
    await settle(workers)
    await workers[1].wants(5)
    await settle(workers)

    for _ in range(12):
        await workers[0].ends(1)
        await settle(workers, rounds=2)

    assert (workers[0].line.in_flight, workers[1].line.in_flight) == (6, 2)


async def test_slots_of_a_worker_that_died_are_free_again(
    workers: list[Worker], valkey_url: str
) -> None:
    await workers[0].wants(20)
    await settle(workers[:1])
    assert workers[0].line.in_flight == CAP

    await workers[1].wants(1)
    while not workers[1].line.in_flight:  # until the lease is over, by Valkey's own clock
        await workers[1].leases.renew()


@pytest.mark.parametrize("busy", [4, 1, 0], ids=["all are busy", "one has borrowed all", "at rest"])
@pytest.mark.parametrize("lost", ["rows", "time"])
async def test_cap_is_kept_though_valkey_was_emptied_or_away(
    workers: list[Worker], valkey_url: str, lost: str, busy: int
) -> None:
    await settle(workers)
    for worker in workers[:busy]:
        await worker.wants(10)
    await settle(workers)
    before = limits(workers)
    assert sum(before) == CAP

    async with redis.asyncio.Redis.from_url(valkey_url) as client:
        for key in [KEY_PREFIX + name for name in workers[0].fleet.lines]:
            if lost == "rows":
                await client.delete(key)
            else:  # nobody could renew for so long that every lease is over
                rows: Any = await client.hgetall(key)
                for name, row in rows.items():
                    await client.hset(key, name, row.rpartition(b" ")[0] + b" 1")
    for worker in workers:
        await worker.wants(10)
    await settle(workers[::-1])  # which watches the cap

    assert limits(workers) == before


async def test_slots_move_again_once_all_have_said_what_they_hold(
    workers: list[Worker], valkey_url: str
) -> None:
    await settle(workers)
    async with redis.asyncio.Redis.from_url(valkey_url) as client:
        await client.delete(*(KEY_PREFIX + name for name in workers[0].fleet.lines))
    await settle(workers)

    await workers[0].wants(20)
    while workers[0].line.limit < CAP:  # by Valkey's own clock
        await settle(workers)

    assert limits(workers) == [CAP, 0, 0, 0]


async def test_without_redis_each_falls_back_to_its_share(clock: Clock) -> None:
    serving = ServingConfig(
        deployment="alone",
        family=ModelFamily.GENERAL,
        serving_format="openai_chat",
        endpoints=(parse_endpoint("http://10.0.0.1/v1"),),
        model_identifier="m",
        max_in_flight=CAP,
    )
    worker = Worker("redis://127.0.0.1:9/0", serving, clock)

    await worker.leases.renew()

    assert worker.line.limit == CAP // 4
    await worker.leases.aclose()


async def test_a_measurement_asks_the_model_only_in_a_slot(
    workers: list[Worker],
    model_server: ModelServer,
    valkey_url: str,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.REDIS_URL = valkey_url
    settings.UPSTREAM_ALLOWED_HOSTS = ("127.0.0.1",)
    monkeypatch.setattr(doors, "MAX_SLOT_WAIT_S", 0)
    there = (parse_endpoint(model_server.endpoint),)
    serving = replace(workers[0].serving, endpoints=there, model_identifier=MODEL)
    await settle(workers)
    await workers[0].wants(CAP)
    await settle(workers)

    busy = {finding.trait: finding async for finding in findings_of(serving)}
    asked_when_busy = {exchange.path for exchange in model_server.exchanges}
    await workers[0].ends(CAP)
    await settle(workers)
    monkeypatch.setattr(doors, "MAX_SLOT_WAIT_S", 60)
    free = {finding.trait: finding async for finding in findings_of(serving)}

    assert asked_when_busy == {"/v1/models"}
    assert "as many requests at once as it may" in busy[Trait.CHAT].remedy
    assert free[Trait.CHAT].state is State.YES
