"""Getting an answer: when it counts as one, and callers who leave in any state of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from gateway.answers import HOLD_STATUS_S, Question, TextStream, as_given
from gateway.exchange import Exchange
from gateway.routing.endpoint_state import HealthState
from gateway.routing.fleet import Fleet
from gateway.routing.limits import Limits
from gateway.routing.line import Lane
from selfhosted_models.errors import (
    DeploymentError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from selfhosted_models.serving_formats.base import Completion, Sampling, Usage
from tests.unit.gateway import virtual_time
from tests.unit.gateway.parts import (
    EventBody,
    Handler,
    ModelServer,
    candidate,
    door,
    serving,
    streamed,
    text_answer,
    text_event,
    under_way,
)

GIVEN = as_given(Completion(Sampling(max_output_tokens=8), text="x ="))
A = serving("a", endpoints=["http://10.0.4.1/v1"], max_in_flight=1)
B = serving("b", endpoints=["http://10.0.4.2/v1"], max_in_flight=1)
RESET = httpx.ReadError("reset")
REFUSED = httpx.ConnectError("refused")
SILENCE = None
DONE = "[DONE]"


class Asked:
    """A question to `A`, then to `B`, and the fleet it goes to; one failure opens a circuit."""

    def __init__(self, model_server: Handler, *, deadline_s: float | None = None) -> None:
        self.fleet = Fleet(door(model_server), Limits(breaker_failures=1))
        started_at = asyncio.get_running_loop().time()
        self.exchange = Exchange("req-1", "POST", deadline_s=deadline_s, started_at=started_at)

    def question(self, *servings: Any, lane: Lane = Lane.CHAT) -> Question:
        candidates = tuple(map(candidate, servings or (A,)))
        return Question(self.fleet, self.exchange, candidates, GIVEN, lane)

    @property
    def under_way(self) -> dict[str, int]:
        return under_way(self.fleet, [A, B])

    @property
    def is_a_left_alone(self) -> bool:
        """Whether the circuit of `A` is open."""
        return not self.fleet.state_of("a", A.endpoints[0]).breaker.is_closed


def body_of(*events: str | Exception | None) -> EventBody:
    """Return a streamed body; None is silence until the end of time."""
    return EventBody(*(asyncio.Event() if event is None else event for event in events))


def asked(*events: str | Exception | None) -> tuple[Asked, EventBody]:
    """Return a question whose one model server streams `events`."""
    body = body_of(*events)
    return Asked(ModelServer(streamed(body))), body


async def texts(stream: TextStream) -> list[str]:
    try:
        return [text async for text in stream]
    finally:
        await stream.aclose()


# --- Streams -------------------------------------------------------------------------------------


@virtual_time.passes_at_once
async def test_stream_that_ends_well_is_a_success_and_frees_its_slot() -> None:
    setting, body = asked(text_event("1"), text_event("2", "length"), DONE)

    stream = await setting.question().stream()
    during = setting.under_way
    heard = await texts(stream)

    assert heard == ["1", "2"]
    assert during == {"in flight to a": 1, "in flight to http://10.0.4.1/v1": 1}
    assert setting.under_way == {}
    assert (stream.finish_reason, stream.candidate.serving) == ("length", A)
    assert body.is_closed
    assert not setting.is_a_left_alone


@virtual_time.passes_at_once
async def test_empty_answer_is_a_success() -> None:
    setting, body = asked(text_event("", "stop"), DONE)

    heard = await texts(await setting.question().stream())

    assert heard == []
    health = setting.fleet.state_of("a", A.endpoints[0]).health
    assert health.state is HealthState.HEALTHY
    assert setting.under_way == {}
    assert setting.exchange.first_content_at is None


@pytest.mark.parametrize(
    ("broken", "error"),
    [((RESET,), UpstreamTruncated), ((), UpstreamTruncated), ((SILENCE,), UpstreamTimeout)],
    ids=["reset", "end without a reason", "silence"],
)
@virtual_time.passes_at_once
async def test_stream_that_fails_in_the_middle_is_a_failure_and_never_tried_again(
    broken: tuple[Any, ...], error: type[DeploymentError]
) -> None:
    body = body_of(text_event("1"), *broken)
    server = ModelServer(streamed(body), streamed(EventBody(text_event("2", "stop"))))
    setting = Asked(server)
    stream = await setting.question(A, B).stream()

    with pytest.raises(error):
        await texts(stream)

    assert len(server.requests) == 1
    assert setting.is_a_left_alone
    assert setting.under_way == {}
    assert body.is_closed


@virtual_time.passes_at_once
async def test_server_that_refuses_before_any_text_is_followed_by_the_fallback() -> None:
    server = ModelServer(REFUSED, streamed(EventBody(text_event("2", "stop"), DONE)))
    setting = Asked(server)

    stream = await setting.question(A, B).stream()
    heard = await texts(stream)

    assert heard == ["2"]
    assert stream.candidate.serving == B
    assert [request.url.host for request in server.requests] == ["10.0.4.1", "10.0.4.2"]
    assert setting.under_way == {}


@virtual_time.passes_at_once
async def test_error_event_in_place_of_the_first_text_is_followed_by_the_fallback() -> None:
    failing = EventBody('{"error": {"type": "overloaded_error", "message": "no"}}')
    setting = Asked(ModelServer(streamed(failing), streamed(EventBody(text_event("2", "stop")))))

    heard = await texts(await setting.question(A, B).stream())

    assert heard == ["2"]
    assert failing.is_closed
    assert setting.under_way == {}


@virtual_time.passes_at_once
async def test_status_is_held_no_longer_than_ten_seconds_and_errors_come_later() -> None:
    setting, _ = asked(SILENCE)
    loop = asyncio.get_running_loop()
    began = loop.time()

    stream = await setting.question().stream()
    held_s = loop.time() - began
    with pytest.raises(UpstreamTimeout):
        await texts(stream)

    assert HOLD_STATUS_S <= held_s < HOLD_STATUS_S + 1
    assert setting.under_way == {}


@virtual_time.passes_at_once
async def test_first_text_has_come_by_the_callers_deadline_or_it_is_a_time_out() -> None:
    body = body_of(SILENCE)
    setting = Asked(ModelServer(streamed(body)), deadline_s=3)
    loop = asyncio.get_running_loop()
    began = loop.time()

    with pytest.raises(UpstreamTimeout):
        await setting.question().stream()

    assert 3 <= loop.time() - began < 4
    assert not setting.is_a_left_alone
    assert body.is_closed


@virtual_time.passes_at_once
async def test_trial_that_begins_to_answer_lets_others_through_before_its_end() -> None:
    more = asyncio.Event()
    body = EventBody(text_event("1"), more, text_event("2", "stop"))
    setting = Asked(ModelServer(REFUSED, streamed(body)))
    with pytest.raises(UpstreamUnreachable):
        await setting.question().fetch()
    await asyncio.sleep(15)

    setting.exchange = Exchange("req-2", "POST", started_at=asyncio.get_running_loop().time())
    stream = await setting.question().stream()
    is_closed = not setting.is_a_left_alone
    more.set()
    await texts(stream)

    assert is_closed


# --- Whole answers -------------------------------------------------------------------------------


@virtual_time.passes_at_once
async def test_whole_answer_is_accounted_and_frees_its_slot() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    said = {"choices": [{"index": 0, "text": "1", "finish_reason": "length"}], "usage": usage}
    setting = Asked(ModelServer(httpx.Response(200, json=said)))

    answer = await setting.question().fetch()

    assert (answer.text, answer.finish_reason, answer.candidate.serving) == ("1", "length", A)
    assert setting.exchange.usage == Usage(7, 2)
    assert setting.exchange.first_content_at is not None
    assert setting.under_way == {}


@virtual_time.passes_at_once
async def test_whole_answer_may_come_from_the_fallback() -> None:
    setting = Asked(ModelServer(httpx.Response(503), text_answer("2")))

    answer = await setting.question(A, B).fetch()

    assert (answer.text, answer.candidate.serving) == ("2", B)
    assert setting.under_way == {}


@virtual_time.passes_at_once
async def test_answer_that_is_none_is_a_failure() -> None:
    setting = Asked(ModelServer(httpx.Response(200, html="<h1>Sign in</h1>")))

    with pytest.raises(DeploymentError):
        await setting.question().fetch()

    assert setting.is_a_left_alone
    assert setting.under_way == {}


@virtual_time.passes_at_once
async def test_rejected_request_is_no_failure_of_the_server() -> None:
    setting = Asked(ModelServer(httpx.Response(400)))

    with pytest.raises(UpstreamRejected):
        await setting.question().fetch()

    assert not setting.is_a_left_alone
    assert setting.under_way == {}


# --- Callers who leave ---------------------------------------------------------------------------


async def heard(question: Question) -> None:
    """Hear the whole stream, as a view does."""
    stream = await question.stream()
    try:
        async for _ in stream:
            pass
    finally:
        await stream.aclose()


async def fetched(question: Question) -> None:
    await question.fetch()


ways = pytest.mark.parametrize("way", [heard, fetched])
Way = Callable[[Question], Awaitable[None]]


async def left_after(setting: Asked, way: Way, seconds: float, *servings: Any) -> None:
    """Ask, and leave so many seconds later."""
    asking = asyncio.ensure_future(way(setting.question(*servings)))
    await asyncio.sleep(seconds)
    assert not asking.done()
    asking.cancel()
    await asyncio.wait({asking})
    assert asking.cancelled()


@ways
@virtual_time.passes_at_once
async def test_leaving_while_queued_frees_the_place(way: Way) -> None:
    server = ModelServer(text_answer("1"))
    setting = Asked(server)
    line = setting.fleet.line_of(A)
    entered_at = await line.enter(Lane.CHAT, "b", by=asyncio.get_running_loop().time() + 1)

    await left_after(setting, way, 1)
    waiting = line.waiting
    line.leave(entered_at)

    assert waiting == 0
    assert server.requests == []
    assert setting.under_way == {}


@ways
@virtual_time.passes_at_once
async def test_leaving_while_connecting_frees_the_slot(way: Way) -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    setting = Asked(hang)

    await left_after(setting, way, 1)

    assert setting.under_way == {}
    assert not setting.is_a_left_alone


@ways
@virtual_time.passes_at_once
async def test_leaving_between_two_attempts_holds_nothing(way: Way) -> None:
    setting = Asked(ModelServer(httpx.Response(503)))

    await left_after(setting, way, 0.05)

    assert setting.under_way == {}


@pytest.mark.parametrize("seconds", [1, HOLD_STATUS_S + 1])
@pytest.mark.parametrize(
    "events", [(SILENCE,), (text_event("1"), SILENCE)], ids=["before the first text", "after it"]
)
@virtual_time.passes_at_once
async def test_leaving_a_stream_closes_it_and_frees_the_slot(
    events: tuple[Any, ...], seconds: float
) -> None:
    setting, body = asked(*events)

    await left_after(setting, heard, seconds)

    assert body.is_closed
    assert setting.under_way == {}
    assert not setting.is_a_left_alone


class SilentBody(httpx.AsyncByteStream):
    """A body whose first byte never comes."""

    is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def aclose(self) -> None:
        self.is_closed = True


@virtual_time.passes_at_once
async def test_leaving_while_the_whole_answer_comes_closes_it_and_frees_the_slot() -> None:
    body = SilentBody()
    setting = Asked(ModelServer(httpx.Response(200, stream=body)))

    await left_after(setting, fetched, 1)

    assert body.is_closed
    assert setting.under_way == {}


@virtual_time.passes_at_once
async def test_leaving_once_all_was_said_closes_the_connection_all_the_same() -> None:
    """The end is read so that the connection may serve again; the client need not wait for it."""
    setting, body = asked(text_event("1", "stop"), DONE, SILENCE)

    await left_after(setting, heard, 0.02)

    assert body.is_closed
    assert setting.under_way == {}
    assert not setting.is_a_left_alone


@virtual_time.passes_at_once
async def test_view_that_stops_listening_frees_the_slot_though_the_client_leaves_too() -> None:
    setting, body = asked(text_event("1"), text_event("2"), SILENCE)

    async def first_text_only(question: Question) -> None:
        stream = await question.stream()
        try:
            async for _ in stream:
                break
        finally:
            asking.cancel()  # the client leaves just now
            await stream.aclose()

    asking = asyncio.ensure_future(first_text_only(setting.question()))
    await asyncio.wait({asking})

    assert body.is_closed
    assert setting.under_way == {}


@virtual_time.passes_at_once
async def test_closing_a_stream_nobody_listened_to_frees_the_slot() -> None:
    setting, body = asked(text_event("1"), SILENCE)

    stream = await setting.question().stream()
    await stream.aclose()
    await stream.aclose()

    assert body.is_closed
    assert setting.under_way == {}


@virtual_time.passes_at_once
async def test_leaving_a_trial_frees_it_for_the_next() -> None:
    body = body_of(SILENCE)
    setting = Asked(ModelServer(REFUSED, streamed(body)))
    with pytest.raises(UpstreamUnreachable):
        await setting.question().fetch()
    await asyncio.sleep(15)

    setting.exchange = Exchange("req-2", "POST", started_at=asyncio.get_running_loop().time())
    await left_after(setting, heard, 1)

    assert setting.fleet.choose(A) is not None
    assert setting.is_a_left_alone
    assert setting.under_way == {}
