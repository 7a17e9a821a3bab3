"""Slots, turns, circuits and fallbacks, as callers and model servers see them."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

import httpx
import pytest

from gateway.routing.breaker import FIRST_OPEN_S, JITTER
from gateway.routing.limits import Limits
from selfhosted_models.serving import ClockOverrides, ServingConfig
from tests.e2e.in_process import OpenGateway, open_gateway
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.model_server import Exchange, ModelServer, Script
from tests.unit.gateway import parts

CAP = 2
CLOSED_WITHIN_S = 1.0
NO_QUOTA = {"user_in_flight": 0, "user_per_minute": 0}

State = Literal["queued", "connecting", "prefilling", "streaming"]


@pytest.fixture
def network(model_server: ModelServer) -> Iterator[FaultProxy]:
    with FaultProxy(model_server.url) as proxy:
        yield proxy


def deployment(url: str, name: str = "scarce", **changes: Any) -> ServingConfig:
    return parts.serving(
        name, serving_format="openai_chat", endpoints=[f"{url}/v1"], max_in_flight=CAP, **changes
    )


@pytest.fixture
async def gateway(network: FaultProxy) -> AsyncIterator[OpenGateway]:
    limits = Limits(queue_size=100, queue_wait_s=30, breaker_failures=0, **NO_QUOTA)
    async with open_gateway([deployment(network.url)], limits) as running:
        yield running


async def request(model_server: ModelServer, number: int) -> Exchange:
    return await asyncio.to_thread(model_server.wait_for_request, number)


async def was_closed(exchange: Exchange) -> bool:
    return await asyncio.to_thread(exchange.closed_by_peer.wait, CLOSED_WITHIN_S)


async def leave(clients: list[asyncio.Task[Any]]) -> None:
    for client in clients:
        client.cancel()
    await asyncio.wait(clients)


async def assert_cap_can_be_filled(gateway: OpenGateway, model_server: ModelServer) -> None:
    """As many requests as the cap allows reach the model server at once, and are answered."""
    seen = len(model_server.exchanges)
    model_server.answer_with(Script(stall="before_headers"))
    clients = [asyncio.create_task(gateway.ask()) for _ in range(CAP)]
    exchanges = [await request(model_server, seen + number) for number in range(CAP)]

    assert gateway.gauges()["in flight"] == CAP
    for exchange in exchanges:
        exchange.release()
    assert all("world" in answer for answer in await asyncio.gather(*clients))


# --- Clients who leave ---------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["queued", "connecting", "prefilling", "streaming"])
async def test_whoever_leaves_frees_the_slot(
    gateway: OpenGateway, network: FaultProxy, model_server: ModelServer, state: State
) -> None:
    stall: Any = 2 if state == "streaming" else "before_headers"
    model_server.answer_with(Script(stall=stall))
    if state == "connecting":
        network.break_with("black_hole")
    holders = CAP if state == "queued" else 0
    clients = [asyncio.create_task(gateway.ask()) for _ in range(holders + CAP)]
    if state == "connecting":
        await gateway.until(lambda: network.unanswered_dials() == CAP)
    else:
        for number in range(CAP):
            await request(model_server, number)
    if state == "queued":
        await gateway.until(lambda: gateway.line.waiting == CAP)

    await leave(clients)
    await gateway.until_idle()

    if state == "connecting":
        await gateway.until(lambda: network.unanswered_dials() == 0)
    assert [await was_closed(exchange) for exchange in model_server.exchanges] == [True] * len(
        model_server.exchanges
    )
    network.heal()
    await assert_cap_can_be_filled(gateway, model_server)


async def test_whoever_leaves_the_queue_is_never_sent(
    gateway: OpenGateway, model_server: ModelServer
) -> None:
    model_server.answer_with(Script(stall="before_headers"))
    holders = [asyncio.create_task(gateway.ask("first")) for _ in range(CAP)]
    exchanges = [await request(model_server, number) for number in range(CAP)]
    leaver = asyncio.create_task(gateway.ask("second thoughts"))
    await gateway.until(lambda: gateway.line.waiting == 1)

    await leave([leaver])
    await gateway.until(lambda: gateway.line.waiting == 0)
    for exchange in exchanges:
        exchange.release()
    await asyncio.gather(*holders)
    await gateway.until_idle()

    assert len(model_server.exchanges) == CAP


async def test_nothing_is_left_after_churn(gateway: OpenGateway, model_server: ModelServer) -> None:
    seeded = random.Random(5)  # noqa: S311 - repeatable, not secret
    scripts = [
        Script(gap_s=0.002),
        Script(stall="before_headers"),
        Script(stall=2),
        Script(cut_after=2),
        Script(cut_after=2, cut="RST"),
        Script(cut_after=0, cut="RST"),
        Script.error(503),
        Script.error(401),
        Script.html(),
        Script(malformed_at=1),
    ]
    model_server.answer_with(*(seeded.choice(scripts) for _ in range(400)), Script())

    async def leave_at_random(user: str) -> None:
        for _ in range(15):
            with suppress(TimeoutError, httpx.TransportError):
                async with asyncio.timeout(seeded.choice([0.003, 0.03, 0.1, 0.3])):
                    await gateway.ask(user=user, stream=seeded.random() < 0.7)

    await asyncio.gather(*(leave_at_random(f"user-{number}") for number in range(12)))
    await gateway.until_idle()

    await gateway.until(lambda: model_server.in_flight == 0)  # all it was asked for in vain ended
    assert sum(exchange.closed_by_peer.is_set() for exchange in model_server.exchanges) > 5
    model_server.answer_with(Script())
    await assert_cap_can_be_filled(gateway, model_server)


# --- Turns ---------------------------------------------------------------------------------------


async def test_other_user_is_admitted_within_two_completions(
    gateway: OpenGateway, model_server: ModelServer
) -> None:
    model_server.answer_with(Script(stall="before_headers"))
    waiting = [asyncio.create_task(gateway.ask("many", user="alice")) for _ in range(CAP + 50)]
    await gateway.until(lambda: gateway.line.waiting == 50)
    waiting.append(asyncio.create_task(gateway.ask("one", user="bob")))
    await gateway.until(lambda: gateway.line.waiting == 51)
    await request(model_server, CAP - 1)

    for number in range(2):
        model_server.exchanges[number].release()
        await request(model_server, CAP + number)

    asked = [exchange.json["messages"][-1]["content"] for exchange in model_server.exchanges]
    assert len(asked) == CAP + 2
    assert any("one" in text for text in asked[CAP:])
    await leave(waiting)


async def test_saturated_deployment_is_told_at_once_or_after_a_short_queue(
    model_server: ModelServer,
) -> None:
    model_server.answer_with(Script(stall="before_headers"))
    limits = Limits(queue_size=1, queue_wait_s=0.2, **NO_QUOTA)
    async with open_gateway([deployment(model_server.url)], limits) as gateway:
        holders = [asyncio.create_task(gateway.ask()) for _ in range(CAP)]
        await gateway.until(lambda: gateway.line.in_flight == CAP)

        refused = await asyncio.gather(*(gateway.post() for _ in range(20)))

        assert {response.status_code for response in refused} == {503}
        assert {response.json()["error"]["code"] for response in refused} == {"deployment_busy"}
        assert all(1 <= int(response.headers["Retry-After"]) <= 5 for response in refused)
        assert len(model_server.exchanges) == CAP
        await leave(holders)
        await gateway.until_idle()


async def test_user_over_the_quota_is_told_and_others_are_served(
    model_server: ModelServer,
) -> None:
    model_server.answer_with(*[Script(stall="before_headers")] * 8, Script())
    served = deployment(model_server.url, name="wide")
    async with open_gateway([replace(served, max_in_flight=64)], Limits()) as gateway:
        holders = [asyncio.create_task(gateway.ask(user="alice")) for _ in range(8)]
        await gateway.until(lambda: gateway.line.in_flight == 8)

        over = await gateway.post(user="alice")
        other = await gateway.post(user="bob")
        await leave(holders)
        await gateway.until_idle()
        after = await gateway.post(user="alice")

        assert (over.status_code, over.json()["error"]["code"]) == (429, "user_quota_exceeded")
        assert over.headers["Retry-After"] == "1"
        assert (other.status_code, after.status_code) == (200, 200)


# --- Circuits ------------------------------------------------------------------------------------


@pytest.fixture
async def guarded(network: FaultProxy) -> AsyncIterator[OpenGateway]:
    """Yield a gateway whose circuits open, as they do unless told otherwise."""
    clocks = ClockOverrides(first_token_s=1)
    limits = Limits(**NO_QUOTA)
    wide = replace(deployment(network.url, clock_overrides=clocks), max_in_flight=64)
    async with open_gateway([wide], limits) as running:
        yield running


async def test_circuit_opens_after_five_failures_and_closes_after_a_trial(
    guarded: OpenGateway, model_server: ModelServer
) -> None:
    model_server.answer_with(Script.error(500))
    failed = [await guarded.post() for _ in range(3)]  # two attempts each, but for the last
    assert {response.status_code for response in failed[:2]} == {502}
    assert failed[2].status_code in {502, 503}
    assert len(model_server.exchanges) == 5

    refused = await guarded.post()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "circuit_open")
    open_s = int(refused.headers["Retry-After"])
    assert FIRST_OPEN_S * (1 - JITTER) <= open_s <= FIRST_OPEN_S * (1 + JITTER) + 1
    assert len(model_server.exchanges) == 5

    model_server.answer_with(Script())
    guarded.clock.added_s += open_s
    trial, later = await guarded.post(), await guarded.post()
    assert (trial.status_code, later.status_code) == (200, 200)


async def test_one_trial_at_a_time_and_a_failed_one_waits_longer(
    guarded: OpenGateway, model_server: ModelServer
) -> None:
    model_server.answer_with(Script.error(500))
    for _ in range(3):
        await guarded.post()
    guarded.clock.added_s += FIRST_OPEN_S * (1 + JITTER)
    model_server.answer_with(Script(stall="before_headers"))

    trial = asyncio.create_task(guarded.post())
    await request(model_server, 5)
    meanwhile = await guarded.post()
    assert meanwhile.json()["error"]["code"] == "circuit_open"

    assert (await trial).status_code == 504
    refused = await guarded.post()
    assert int(refused.headers["Retry-After"]) >= 2 * FIRST_OPEN_S * (1 - JITTER)
    assert len(model_server.exchanges) == 6


async def test_unanswered_dials_open_the_circuit(
    guarded: OpenGateway, network: FaultProxy, model_server: ModelServer
) -> None:
    network.break_with("black_hole")

    failed = await asyncio.gather(*(guarded.post() for _ in range(5)))
    network.heal()
    refused = await guarded.post()

    assert {response.status_code for response in failed} == {504}
    assert refused.json()["error"]["code"] == "circuit_open"
    assert model_server.exchanges == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
async def test_refusals_leave_the_circuit_closed(
    guarded: OpenGateway, model_server: ModelServer, status: int
) -> None:
    model_server.answer_with(*[Script.error(status)] * 6, Script())

    answers = [await guarded.post() for _ in range(7)]

    assert answers[-1].status_code == 200
    assert len(model_server.exchanges) == 7


async def test_clients_who_leave_leave_the_circuit_closed(
    guarded: OpenGateway, model_server: ModelServer
) -> None:
    model_server.answer_with(*[Script(stall="before_headers")] * 6, Script())
    clients = [asyncio.create_task(guarded.ask()) for _ in range(6)]
    await request(model_server, 5)
    await leave(clients)
    await guarded.until_idle()

    assert (await guarded.post()).status_code == 200


# --- Fallbacks -----------------------------------------------------------------------------------


async def test_fallback_answers_and_the_headers_say_so(model_server: ModelServer) -> None:
    first = deployment(model_server.path("first", Script.error(500)).removesuffix("/v1"), "first")
    second = deployment(model_server.path("second").removesuffix("/v1"), "second")
    async with open_gateway([first, second], Limits(**NO_QUOTA)) as gateway:
        answers = [await gateway.post() for _ in range(6)]

    assert {response.status_code for response in answers} == {200}
    assert {response.headers["X-Gitlab-Duo-Deployment"] for response in answers} == {"second"}
    failures = [response.headers["X-Gitlab-Duo-Failed-Attempts"] for response in answers]
    assert failures == ["first: upstream_rejected"] * 5 + ["first: circuit_open"]
    assert len(model_server.exchanges_at("first")) == 5


async def test_fallback_is_not_asked_what_no_other_server_can_cure(
    model_server: ModelServer,
) -> None:
    first = deployment(model_server.path("first", Script.error(401)).removesuffix("/v1"), "first")
    second = deployment(model_server.path("second").removesuffix("/v1"), "second")
    async with open_gateway([first, second], Limits(**NO_QUOTA)) as gateway:
        response = await gateway.post()

    assert response.status_code == 502
    assert response.headers["X-Gitlab-Duo-Failed-Attempts"] == "first: upstream_rejected"
    assert model_server.exchanges_at("second") == []


async def test_busy_deployment_falls_back_too(model_server: ModelServer) -> None:
    hangs = Script(stall="before_headers")
    first = deployment(model_server.path("first", hangs).removesuffix("/v1"), "first")
    second = deployment(model_server.path("second").removesuffix("/v1"), "second")
    limits = Limits(queue_wait_s=0.1, **NO_QUOTA)
    async with open_gateway([first, second], limits) as gateway:
        holders = [asyncio.create_task(gateway.ask()) for _ in range(CAP)]
        await gateway.until(lambda: gateway.line.in_flight == CAP)
        response = await gateway.post()
        await leave(holders)

    assert response.headers["X-Gitlab-Duo-Deployment"] == "second"
    assert response.headers["X-Gitlab-Duo-Failed-Attempts"] == "first: deployment_busy"
