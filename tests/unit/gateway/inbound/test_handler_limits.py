"""What one user, and one worker, may have under way; and that nothing is left counted."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from feature_config.catalogue import Feature
from gateway.inbound.handler import MAX_BODY_BYTES, GatewayHandler
from gateway.routing.limits import Limits
from gateway.runtime import Runtime
from tests.unit.gateway import virtual_time
from tests.unit.gateway.asgi import Answer, Call, Client
from tests.unit.gateway.inbound.test_handler import BODY, COMPLETIONS
from tests.unit.gateway.parts import (
    EventBody,
    Handler,
    ModelServer,
    runtime,
    serving,
    snapshot,
    streamed,
    text_answer,
    text_event,
    under_way,
)
from tests.unit.gateway.signing import headers, mint

A = serving("a", endpoints=["http://10.0.4.1/v1"])
B = serving("b", endpoints=["http://10.0.4.2/v1"])


class Gateway:
    """One worker whose completions come from `A`, then from `B`."""

    def __init__(self, model_server: Handler, **limits: Any) -> None:
        serves = snapshot([A, B], {Feature.CODE_COMPLETIONS: ["a", "b"]})
        self.runtime: Runtime = runtime(model_server, serves, limits=Limits(**limits))
        self.client = Client(GatewayHandler(self.runtime))

    def call(self, user: str = "u-1", *, path: str = COMPLETIONS, **changes: Any) -> Call:
        sent = headers(mint(), x_gitlab_global_user_id=user)
        return self.client.call("POST", path, sent, json={**BODY, **changes})

    async def complete(self, user: str = "u-1", **changes: Any) -> Answer:
        return await self.call(user, **changes).run()

    @property
    def under_way(self) -> dict[str, int]:
        gauges = {"in flight in this worker": self.runtime.quotas.in_flight}
        return {
            name: count
            for name, count in (gauges | under_way(self.runtime.fleet, [A, B])).items()
            if count
        }


class Slow:
    """A model server that answers when it may.

    Attributes:
        may_answer: Set to let it.
        asked: Released by each request that comes.
    """

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Semaphore(0)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.release()
        await self.may_answer.wait()
        return text_answer("1")


class SlowBody(EventBody):
    """An answer that takes its time, its end as well."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in super().__aiter__():
            await asyncio.sleep(0.1)
            yield part


# --- Quotas --------------------------------------------------------------------------------------


async def test_user_with_too_many_at_once_is_told_to_wait_and_others_are_not() -> None:
    server = Slow()
    gateway = Gateway(server, user_in_flight=2)
    first = [asyncio.create_task(gateway.complete()) for _ in range(2)]
    await server.asked.acquire()
    await server.asked.acquire()

    refused = await gateway.complete()
    server.may_answer.set()
    other = await gateway.complete("u-2")

    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert refused.json["code"] == "user_quota_exceeded"
    assert "2 requests at once" in refused.json["detail"]
    assert other.status == 200
    assert [answer.status for answer in await asyncio.gather(*first)] == [200, 200]
    assert (await gateway.complete()).status == 200
    assert gateway.under_way == {}


async def test_user_with_too_many_a_minute_is_told_to_wait() -> None:
    gateway = Gateway(ModelServer(text_answer("1")), user_per_minute=2)

    statuses = [(await gateway.complete()).status for _ in range(3)]
    other = await gateway.complete("u-2")

    assert statuses == [200, 200, 429]
    assert other.status == 200


async def test_openai_client_is_told_in_its_own_words() -> None:
    gateway = Gateway(ModelServer(text_answer("1")), user_per_minute=1)
    await gateway.complete()

    refused = await gateway.complete(path="/openai/v1/chat/completions")

    assert (refused.status, refused.headers["retry-after"]) == (429, "60")
    assert refused.json["error"]["type"] == "rate_limit_error"
    assert refused.json["error"]["code"] == "user_quota_exceeded"


async def test_instance_that_names_no_user_has_no_quota() -> None:
    gateway = Gateway(ModelServer(text_answer("1")), user_per_minute=1)

    statuses = [(await gateway.complete("")).status for _ in range(3)]

    assert statuses == [200] * 3


async def test_worker_with_its_hands_full_says_so_and_stays_watched() -> None:
    server = Slow()
    gateway = Gateway(server, worker_in_flight=1)
    first = asyncio.create_task(gateway.complete())
    await server.asked.acquire()

    refused = await gateway.complete("u-2")
    healthy = await gateway.client.get("/monitoring/healthz")
    server.may_answer.set()
    await first

    assert (refused.status, refused.json["code"]) == (503, "worker_busy")
    assert "retry-after" in refused.headers
    assert healthy.status == 200
    assert gateway.under_way == {}


async def test_refused_token_is_not_counted() -> None:
    gateway = Gateway(ModelServer(text_answer("1")), worker_in_flight=1)

    for _ in range(3):
        answer = await gateway.client.post(COMPLETIONS, {"Authorization": "Bearer no"}, json=BODY)
        assert answer.status == 401

    assert (await gateway.complete()).status == 200


# --- Nothing is left counted ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (httpx.Response(500), 503),
        (httpx.Response(400), 503),
        (httpx.ConnectError("refused"), 503),
        (ZeroDivisionError("a bug"), 500),
        (httpx.Response(200, html="<h1>Sign in</h1>"), 503),
    ],
    ids=["5xx", "4xx", "refused", "a bug", "HTML"],
)
@pytest.mark.parametrize("stream", [False, True])
@virtual_time.passes_at_once
async def test_failure_leaves_nothing_counted(
    answer: httpx.Response | Exception, status: int, *, stream: bool
) -> None:
    gateway = Gateway(ModelServer(answer))

    told = await gateway.complete(stream=stream)

    assert told.status == status
    assert gateway.under_way == {}


@pytest.mark.parametrize(
    "parts", [(b"{",), (b"{}",), (b"x" * (MAX_BODY_BYTES + 1),)], ids=["cut", "empty", "oversized"]
)
async def test_bad_body_leaves_nothing_counted(parts: tuple[bytes]) -> None:
    gateway = Gateway(ModelServer(text_answer("1")))
    sent = headers(mint(), x_gitlab_global_user_id="u-1")

    answer = await gateway.client.call("POST", COMPLETIONS, sent, parts=parts).run()

    assert 400 <= answer.status < 500
    assert gateway.under_way == {}


async def test_client_who_leaves_while_sending_leaves_nothing_counted() -> None:
    gateway = Gateway(ModelServer(text_answer("1")))
    sent = headers(mint(), x_gitlab_global_user_id="u-1")
    call = gateway.client.call("POST", COMPLETIONS, sent, parts=(b"{", None))
    call.left.set()

    await call.run()

    assert gateway.under_way == {}


@virtual_time.passes_at_once
async def test_clients_who_leave_at_any_moment_leave_nothing_counted() -> None:
    """Streams that are left after 0, 10, … ms of an answer that takes 0.7 s."""

    bodies: list[SlowBody] = []

    async def model_server(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.1)
        bodies.append(SlowBody(*map(text_event, "123"), text_event("", "stop"), "[DONE]", ""))
        return streamed(bodies[-1])

    gateway = Gateway(model_server, user_in_flight=0, user_per_minute=0)

    async def leave_after(seconds: float) -> None:
        call = gateway.call(stream=True)
        running = asyncio.create_task(call.run())
        await asyncio.sleep(seconds)
        call.left.set()
        await running

    await asyncio.gather(*(leave_after(number / 100) for number in range(80)))

    assert gateway.under_way == {}
    assert bodies
    assert all(body.is_closed for body in bodies)


# --- Deadlines and fallbacks ---------------------------------------------------------------------


async def test_caller_whose_time_is_over_is_told_so() -> None:
    server = ModelServer(text_answer("1"))
    gateway = Gateway(server)
    sent = headers(mint(), x_request_deadline_ms="0")

    answer = await gateway.client.post(COMPLETIONS, sent, json=BODY)

    assert (answer.status, answer.json["code"]) == (504, "deadline_passed")
    assert server.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_fallback_answers_as_the_first_choice_would(*, stream: bool) -> None:
    good = streamed(EventBody(text_event("1", "stop"))) if stream else text_answer("1")
    gateway = Gateway(ModelServer(httpx.Response(503), good))

    answer = await gateway.complete(stream=stream)

    assert (answer.status, answer.is_complete) == (200, True)
    assert "1" in answer.text
    assert gateway.under_way == {}


@virtual_time.passes_at_once
async def test_caller_is_told_that_none_could_answer_and_when_to_come_again() -> None:
    gateway = Gateway(ModelServer(httpx.Response(503)))

    answer = await gateway.complete()

    assert answer.status == 503
    assert answer.json["message"].startswith("None of a, b could answer. The last: The model ")
    assert "retry-after" in answer.headers


@virtual_time.passes_at_once
async def test_open_circuits_are_told_without_dialling() -> None:
    server = ModelServer(httpx.Response(503))
    gateway = Gateway(server, breaker_failures=1)
    await gateway.complete()
    dialled = len(server.requests)

    answer = await gateway.complete("u-2")

    assert (answer.status, answer.json["code"]) == (503, "circuit_open")
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert len(server.requests) == dialled
