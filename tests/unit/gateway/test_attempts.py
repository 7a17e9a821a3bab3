"""Which server is asked, in what order, and when another one gets a chance."""

import asyncio
import random
from typing import Any

import pytest

from gateway.answers import as_given
from gateway.attempts import BACKOFF_BOUNDS_S, Attempt, RenderFor, Route
from gateway.exchange import Exchange
from gateway.gates import Candidate
from gateway.routing.errors import CircuitOpen, DeadlinePassed, DeploymentBusy
from gateway.routing.fleet import Fleet
from gateway.routing.limits import Limits
from gateway.routing.line import Lane, Slot
from gateway.routing.retry_budget import ALWAYS_ALLOWED
from prompts.errors import ContextTooLong, InputMissing, PromptError
from prompts.render import RenderedPrompt
from selfhosted_models.errors import (
    DeploymentError,
    EndpointRefused,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from selfhosted_models.serving import ServingConfig
from selfhosted_models.serving_formats.base import Completion, Sampling
from tests.unit.gateway import virtual_time
from tests.unit.gateway.parts import candidate, door, serving, under_way

GIVEN = as_given(Completion(Sampling(max_output_tokens=8), text="x ="))
UNREACHABLE = UpstreamUnreachable("It cannot be reached.")
TIMEOUT = UpstreamTimeout("It did not answer in time.")
TOO_LONG = ContextTooLong(9000, 4000)


def rejected(status: int, **facts: Any) -> UpstreamRejected:
    return UpstreamRejected(f"It answered {status}.", status=status, **facts)


def deployment(name: str, *hosts: str, **changes: Any) -> ServingConfig:
    """Return a deployment with an endpoint at each of `hosts`; one of its own name if none."""
    return serving(name, endpoints=[f"http://{host}/v1" for host in hosts or [name]], **changes)


class Servers:
    """Model servers: what they say, by host, one after the other; all else is a good answer.

    Attributes:
        asked: Hosts, in the order they were asked.
    """

    def __init__(self, **outcomes: DeploymentError | list[DeploymentError]) -> None:
        self._outcomes = {
            host: [*said] if isinstance(said, list) else [said] * 9
            for host, said in outcomes.items()
        }
        self.asked: list[str] = []

    async def send(self, attempt: Attempt) -> str:
        host = attempt.endpoint.host
        self.asked.append(host)
        if self._outcomes.get(host):
            raise self._outcomes[host].pop(0)
        return f"answer of {host}"


class Setting:
    """A fleet and one request to it.

    Attributes:
        servings: First choice first.
    """

    def __init__(
        self,
        *servings: ServingConfig,
        deadline_s: float | None = None,
        render_for: RenderFor = GIVEN,
        **limits: Any,
    ) -> None:
        self.servings = servings
        self.fleet = Fleet(door(None), Limits(**limits))
        self.deadline_s = deadline_s
        self.render_for = render_for
        self.exchange = self.new_exchange()

    def new_exchange(self) -> Exchange:
        started_at = asyncio.get_running_loop().time()
        return Exchange(
            "req-1", "POST", "a user", deadline_s=self.deadline_s, started_at=started_at
        )

    def route(self) -> Route:
        candidates = tuple(map(candidate, self.servings))
        return Route(self.fleet, self.exchange, candidates, self.render_for, Lane.CHAT)

    async def ask(self, servers: Servers) -> str:
        """Return the answer, its attempt ended as a success."""
        attempt, answer = await self.route().first_good(servers.send)
        attempt.succeeded()
        assert under_way(self.fleet, self.servings) == {}
        return answer

    async def fail(self, servers: Servers) -> Exception:
        """Return what was raised in place of an answer."""
        with pytest.raises((DeploymentError, PromptError, DeadlinePassed)) as caught:
            await self.ask(servers)
        assert under_way(self.fleet, self.servings) == {}
        return caught.value

    def open_circuit(self, serving: ServingConfig) -> None:
        for endpoint in serving.endpoints:
            for _ in range(5):
                self.fleet.state_of(serving.deployment, endpoint).note_failure(UNREACHABLE)

    async def take_all_slots(self, serving: ServingConfig) -> Slot:
        line = self.fleet.line_of(serving)
        by = asyncio.get_running_loop().time() + 1
        return [await line.enter(Lane.CHAT, "b", by=by) for _ in range(line.limit)][0]


# --- Order ---------------------------------------------------------------------------------------


@virtual_time.passes_at_once
async def test_first_choice_answers_and_nobody_else_is_asked() -> None:
    setting, servers = Setting(deployment("a"), deployment("b")), Servers()

    answer = await setting.ask(servers)

    assert (answer, servers.asked) == ("answer of a", ["a"])
    assert (setting.exchange.deployment, setting.exchange.attempts) == ("a", 1)
    assert setting.exchange.failed_attempts == []


@virtual_time.passes_at_once
async def test_other_endpoint_of_the_deployment_goes_before_its_fallback() -> None:
    setting = Setting(deployment("a", "a1", "a2"), deployment("b"))
    servers = Servers(a1=UNREACHABLE)
    setting.fleet.state_of("a", setting.servings[0].endpoints[1]).begin()  # a1 is chosen first

    attempt, _ = await setting.route().first_good(servers.send)

    assert servers.asked == ["a1", "a2"]
    assert attempt.endpoint.host == "a2"


@virtual_time.passes_at_once
async def test_fallback_goes_before_the_same_server_again() -> None:
    setting, servers = Setting(deployment("a"), deployment("b")), Servers(a=UNREACHABLE)

    answer = await setting.ask(servers)

    assert (answer, servers.asked) == ("answer of b", ["a", "b"])
    assert (setting.exchange.deployment, setting.exchange.attempts) == ("b", 2)
    assert setting.exchange.failed_attempts == ["a: upstream_unreachable"]


@virtual_time.passes_at_once
async def test_same_server_is_asked_again_after_a_while() -> None:
    loop = asyncio.get_running_loop()
    setting, servers = Setting(deployment("a")), Servers(a=[rejected(503)])

    began = loop.time()
    answer = await setting.ask(servers)

    assert (answer, servers.asked) == ("answer of a", ["a", "a"])
    assert loop.time() - began >= BACKOFF_BOUNDS_S[0]


@virtual_time.passes_at_once
async def test_two_attempts_at_most() -> None:
    setting = Setting(deployment("a", "a1", "a2", "a3"), deployment("b"), deployment("c"))
    servers = Servers(**dict.fromkeys(("a1", "a2", "a3", "b", "c"), UNREACHABLE))

    await setting.fail(servers)

    assert len(servers.asked) == 2
    assert setting.exchange.attempts == 2


# --- What may be tried again ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [UNREACHABLE, *map(rejected, (500, 502, 503, 504)), rejected(529, is_overloaded=True)],
    ids=repr,
)
@virtual_time.passes_at_once
async def test_error_another_server_may_not_have_is_tried_again(error: DeploymentError) -> None:
    setting, servers = Setting(deployment("a"), deployment("b")), Servers(a=error)

    assert await setting.ask(servers) == "answer of b"


@pytest.mark.parametrize(
    "error",
    [
        TIMEOUT,
        *map(rejected, (400, 401, 403, 404, 413, 422, 429, 501, 529)),
        UpstreamProtocolError("HTML"),
        UpstreamTruncated("It broke off."),
        EndpointRefused("Not allowed."),
    ],
    ids=repr,
)
@virtual_time.passes_at_once
async def test_other_errors_are_final(error: DeploymentError) -> None:
    setting, servers = (
        Setting(deployment("a", "a1", "a2"), deployment("b")),
        Servers(a1=error, a2=error),
    )

    assert await setting.fail(servers) is error
    assert len(servers.asked) == 1


@virtual_time.passes_at_once
async def test_bug_while_sending_frees_the_slot_and_is_no_verdict() -> None:
    setting = Setting(deployment("a"), deployment("b"), breaker_failures=1)

    async def send(attempt: Attempt) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await setting.route().first_good(send)

    assert under_way(setting.fleet, setting.servings) == {}
    assert setting.fleet.choose(setting.servings[0]) is not None


# --- Retry budget --------------------------------------------------------------------------------


def use_up_retries(setting: Setting, serving: ServingConfig) -> None:
    for endpoint in serving.endpoints:
        for _ in range(ALWAYS_ALLOWED):
            setting.fleet.state_of(serving.deployment, endpoint).begin(is_retry=True)


@virtual_time.passes_at_once
async def test_server_without_retries_left_is_not_asked_a_second_time() -> None:
    a = deployment("a")
    setting, servers = Setting(a), Servers(a=[rejected(503)])
    use_up_retries(setting, a)

    with pytest.raises(UpstreamRejected):
        await setting.route().first_good(servers.send)

    assert servers.asked == ["a"]
    assert setting.fleet.line_of(a).is_idle


@virtual_time.passes_at_once
async def test_fallback_takes_over_whatever_its_own_retries() -> None:
    a, b = deployment("a"), deployment("b")
    setting, servers = Setting(a, b), Servers(a=UNREACHABLE)
    use_up_retries(setting, b)

    attempt, answer = await setting.route().first_good(servers.send)

    assert (answer, servers.asked) == ("answer of b", ["a", "b"])


@virtual_time.passes_at_once
async def test_first_attempt_needs_no_budget() -> None:
    a = deployment("a")
    setting, servers = Setting(a), Servers()
    use_up_retries(setting, a)

    attempt, answer = await setting.route().first_good(servers.send)

    assert answer == "answer of a"


@virtual_time.passes_at_once
async def test_outage_multiplies_the_requests_of_a_busy_server_by_little() -> None:
    """A hundred clients at once, all failing: three second attempts, not a hundred."""
    a = deployment("a", max_in_flight=200)
    setting, servers = Setting(a, breaker_failures=0), Servers(a=[rejected(503)] * 200)

    async def one() -> None:
        route = Route(setting.fleet, setting.new_exchange(), (candidate(a),), GIVEN, Lane.CHAT)

        async def send(attempt: Attempt) -> str:
            await asyncio.sleep(1)
            return await servers.send(attempt)

        with pytest.raises(UpstreamRejected):
            await route.first_good(send)

    await asyncio.gather(*(one() for _ in range(100)))

    assert len(servers.asked) <= 110
    assert under_way(setting.fleet, [a]) == {}


# --- Open circuits -------------------------------------------------------------------------------


@virtual_time.passes_at_once
async def test_deployment_with_an_open_circuit_is_not_dialled_and_the_next_is_asked() -> None:
    a, b = deployment("a", "a1", "a2"), deployment("b")
    setting, servers = Setting(a, b), Servers()
    setting.open_circuit(a)

    answer = await setting.ask(servers)

    assert (answer, servers.asked) == ("answer of b", ["b"])
    assert setting.exchange.failed_attempts == ["a: circuit_open"]


@virtual_time.passes_at_once
async def test_fallback_after_an_open_circuit_is_a_first_attempt() -> None:
    a, b = deployment("a"), deployment("b")
    setting, servers = Setting(a, b), Servers(b=[UNREACHABLE])
    setting.open_circuit(a)
    use_up_retries(setting, b)

    with pytest.raises(UpstreamUnreachable):
        await setting.route().first_good(servers.send)

    assert servers.asked == ["b"]


@virtual_time.passes_at_once
async def test_open_circuit_without_a_fallback_says_when_to_come_again() -> None:
    a = deployment("a")
    setting, servers = Setting(a), Servers()
    setting.open_circuit(a)

    error = await setting.fail(servers)

    assert isinstance(error, CircuitOpen)
    assert 8 <= error.retry_after_s <= 12
    assert servers.asked == []


@virtual_time.passes_at_once
async def test_failure_that_opens_the_circuit_is_told_as_what_it_is() -> None:
    setting, servers = Setting(deployment("a"), breaker_failures=1), Servers(a=UNREACHABLE)

    assert await setting.fail(servers) is UNREACHABLE
    assert servers.asked == ["a"]


@virtual_time.passes_at_once
async def test_circuit_that_opens_while_a_request_waits_is_what_it_is_told() -> None:
    a = deployment("a", max_in_flight=1)
    setting, servers = Setting(a), Servers()
    entered_at = await setting.take_all_slots(a)
    asking = asyncio.create_task(setting.route().first_good(servers.send))
    await asyncio.sleep(0.1)

    setting.open_circuit(a)
    setting.fleet.line_of(a).leave(entered_at)

    with pytest.raises(CircuitOpen):
        await asking
    assert servers.asked == []
    assert under_way(setting.fleet, [a]) == {}


# --- Busy deployments ----------------------------------------------------------------------------


@virtual_time.passes_at_once
async def test_busy_deployment_is_waited_for_and_then_the_fallback_is_asked() -> None:
    a, b = deployment("a", max_in_flight=1), deployment("b")
    setting, servers = Setting(a, b), Servers()
    entered_at = await setting.take_all_slots(a)

    attempt, answer = await setting.route().first_good(servers.send)
    attempt.succeeded()
    setting.fleet.line_of(a).leave(entered_at)

    assert answer == "answer of b"
    assert setting.exchange.failed_attempts == ["a: deployment_busy"]
    assert setting.exchange.queued_s >= setting.fleet.limits.queue_wait_s
    assert under_way(setting.fleet, [a, b]) == {}


@virtual_time.passes_at_once
async def test_wait_for_a_slot_is_part_of_the_exchange() -> None:
    a = deployment("a", max_in_flight=1)
    setting, servers = Setting(a), Servers()
    entered_at = await setting.take_all_slots(a)
    asking = asyncio.create_task(setting.ask(servers))

    await asyncio.sleep(1)
    setting.fleet.line_of(a).leave(entered_at)
    await asking

    assert 0.9 < setting.exchange.queued_s < 2


@virtual_time.passes_at_once
async def test_deployment_busy_without_a_fallback_says_when_to_come_again() -> None:
    a = deployment("a", max_in_flight=1)
    setting, servers = Setting(a), Servers()
    await setting.take_all_slots(a)

    with pytest.raises(DeploymentBusy) as busy:
        await setting.route().first_good(servers.send)

    assert 1 <= busy.value.retry_after_s <= 5
    assert servers.asked == []


# --- Prompts that do not fit ---------------------------------------------------------------------


def fitting_only(*names: str, error: PromptError = TOO_LONG) -> RenderFor:
    """Return what renders for the deployments of these names, and raises for others."""

    def render_for(candidate: Candidate) -> RenderedPrompt:
        if candidate.serving.deployment not in names:
            raise error
        return GIVEN(candidate)

    return render_for


@virtual_time.passes_at_once
async def test_context_too_long_for_the_first_choice_is_taken_to_the_fallback() -> None:
    setting = Setting(deployment("a"), deployment("b"), render_for=fitting_only("b"))
    servers = Servers()

    answer = await setting.ask(servers)

    assert (answer, servers.asked) == ("answer of b", ["b"])
    assert setting.exchange.failed_attempts == ["a: context_too_long"]


@virtual_time.passes_at_once
async def test_context_too_long_for_all_is_the_callers_fault() -> None:
    setting = Setting(deployment("a"), deployment("b"), render_for=fitting_only())

    error = await setting.fail(Servers())

    assert error is TOO_LONG


@pytest.mark.parametrize("error_of_prompt", [TOO_LONG, InputMissing(["prefix"])], ids=repr)
@virtual_time.passes_at_once
async def test_fallback_it_does_not_fit_does_not_hide_why_it_is_asked(
    error_of_prompt: PromptError,
) -> None:
    a, b = deployment("a"), deployment("b")
    setting = Setting(a, b, render_for=fitting_only("a", error=error_of_prompt))
    servers = Servers(a=[rejected(500), rejected(502)])

    error = await setting.fail(servers)

    assert isinstance(error, UpstreamRejected)
    assert error.status == 502
    assert servers.asked == ["a", "a"]


@virtual_time.passes_at_once
async def test_inputs_that_no_prompt_can_be_made_of_are_told_at_once() -> None:
    missing = InputMissing(["prefix"])
    render_for = fitting_only("b", error=missing)
    setting, servers = Setting(deployment("a"), deployment("b"), render_for=render_for), Servers()

    assert await setting.fail(servers) is missing
    assert servers.asked == []


@virtual_time.passes_at_once
async def test_candidates_past_the_last_attempt_are_not_even_considered() -> None:
    a, b, c = map(deployment, "abc")
    setting = Setting(a, b, c, render_for=fitting_only("a", "b"))
    servers = Servers(a=UNREACHABLE, b=UpstreamUnreachable("b is away."))

    error = await setting.fail(servers)

    assert "None of a, b could answer" in getattr(error, "safe_message", "")


# --- What the caller is told ---------------------------------------------------------------------


@virtual_time.passes_at_once
async def test_error_names_everybody_who_could_not_answer() -> None:
    a, b = deployment("a"), deployment("b")
    setting, servers = Setting(a, b), Servers(b=rejected(500))
    setting.open_circuit(a)

    error = await setting.fail(servers)

    assert isinstance(error, UpstreamRejected)
    assert error.safe_message == "None of a, b could answer. The last: It answered 500."
    assert setting.exchange.failed_attempts == [
        "a: circuit_open",
        "b: upstream_rejected",
        "b: upstream_rejected",
    ]


@virtual_time.passes_at_once
async def test_error_of_one_deployment_is_told_as_it_is() -> None:
    setting, servers = (
        Setting(deployment("a", "a1", "a2")),
        Servers(a1=rejected(500), a2=rejected(500)),
    )

    error = await setting.fail(servers)

    assert getattr(error, "safe_message", "") == "It answered 500."


# --- Deadlines -----------------------------------------------------------------------------------


@virtual_time.passes_at_once
async def test_nobody_is_asked_past_the_callers_deadline() -> None:
    setting, servers = Setting(deployment("a"), deadline_s=5), Servers()
    await asyncio.sleep(5)

    assert isinstance(await setting.fail(servers), DeadlinePassed)
    assert servers.asked == []


@virtual_time.passes_at_once
async def test_past_the_deadline_the_servers_own_error_is_told() -> None:
    setting, servers = Setting(deployment("a"), deployment("b"), deadline_s=5), Servers()

    async def fail_late(attempt: Attempt) -> str:
        servers.asked.append(attempt.endpoint.host)
        await asyncio.sleep(5)
        raise rejected(500)

    with pytest.raises(UpstreamRejected):
        await setting.route().first_good(fail_late)
    assert servers.asked == ["a"]


@virtual_time.passes_at_once
async def test_deadline_ends_the_wait_for_a_slot() -> None:
    a = deployment("a", max_in_flight=1)
    setting, servers = Setting(a, deadline_s=0.5), Servers()
    await setting.take_all_slots(a)

    with pytest.raises(DeploymentBusy):
        await setting.route().first_good(servers.send)

    assert 0.4 < setting.exchange.queued_s < 1


@virtual_time.passes_at_once
async def test_attempt_has_no_more_time_than_the_caller_left() -> None:
    clocks = []

    async def send(attempt: Attempt) -> None:
        clocks.append(attempt.clocks.total_s)

    await Setting(deployment("a"), deadline_s=7).route().first_good(send)
    await Setting(deployment("a")).route().first_good(send)

    assert clocks == [pytest.approx(7, abs=1), Lane.CHAT.clocks.total_s]


async def time_out(after_s: float, **setting: Any) -> bool:
    """Let a server say nothing for so long; return whether that opened its circuit."""
    a = deployment("a")
    waiting = Setting(a, breaker_failures=1, **setting)

    async def send(attempt: Attempt) -> str:
        await asyncio.sleep(after_s)
        raise UpstreamTimeout("It did not answer in time.")

    with pytest.raises(UpstreamTimeout):
        await waiting.route().first_good(send)
    assert under_way(waiting.fleet, [a]) == {}
    return waiting.fleet.choose(a) is None


@virtual_time.passes_at_once
async def test_time_out_counts_against_the_server() -> None:
    assert await time_out(5)
    assert await time_out(5, deadline_s=30)


@virtual_time.passes_at_once
async def test_deadline_of_an_impatient_caller_does_not_count_against_the_server() -> None:
    assert not await time_out(0.001, deadline_s=0.001)


# --- Callers who leave ---------------------------------------------------------------------------


async def leave(asking: asyncio.Task[Any]) -> None:
    asking.cancel()
    await asyncio.wait({asking})
    assert asking.cancelled()


@virtual_time.passes_at_once
async def test_caller_who_leaves_the_line_frees_the_place() -> None:
    a = deployment("a", max_in_flight=1)
    setting, servers = Setting(a), Servers()
    entered_at = await setting.take_all_slots(a)
    asking = asyncio.create_task(setting.route().first_good(servers.send))
    await asyncio.sleep(0.5)

    await leave(asking)
    setting.fleet.line_of(a).leave(entered_at)

    assert under_way(setting.fleet, [a]) == {}
    assert setting.exchange.queued_s > 0.4


@virtual_time.passes_at_once
async def test_caller_who_leaves_between_two_attempts_holds_nothing() -> None:
    setting, servers = Setting(deployment("a")), Servers(a=UNREACHABLE)
    asking = asyncio.create_task(setting.route().first_good(servers.send))
    await asyncio.sleep(BACKOFF_BOUNDS_S[0] / 2)

    await leave(asking)

    assert servers.asked == ["a"]
    assert under_way(setting.fleet, setting.servings) == {}


@virtual_time.passes_at_once
async def test_caller_who_leaves_a_trial_frees_it_for_the_next() -> None:
    a = deployment("a")
    setting = Setting(a)
    setting.open_circuit(a)
    await asyncio.sleep(12)

    async def hang(_: Attempt) -> None:
        await asyncio.Event().wait()

    asking = asyncio.create_task(setting.route().first_good(hang))
    await asyncio.sleep(0)
    during = setting.fleet.choose(a)
    await leave(asking)

    assert during is None
    assert setting.fleet.choose(a) is not None
    assert under_way(setting.fleet, [a]) == {}


@virtual_time.passes_at_once
async def test_callers_who_come_and_leave_at_any_time_leave_nothing_behind() -> None:
    """Two hundred requests to three shaky servers, each left at a random moment."""
    a, b = deployment("a", "a1", "a2", max_in_flight=4), deployment("b", max_in_flight=2)
    setting = Setting(a, b, queue_size=8)
    draw = random.Random(7)  # noqa: S311 - a test's

    async def shaky(_: Attempt) -> str:
        await asyncio.sleep(draw.uniform(0, 0.5))
        if draw.random() < 0.5:
            raise draw.choice([UNREACHABLE, rejected(503), rejected(400), TIMEOUT])
        return "answer"

    async def one(number: int) -> None:
        await asyncio.sleep(draw.uniform(0, 10))
        exchange = setting.new_exchange()
        exchange.sent_user = f"user {number % 5}"
        candidates = tuple(map(candidate, setting.servings))
        route = Route(setting.fleet, exchange, candidates, GIVEN, draw.choice([*Lane]))
        try:
            async with asyncio.timeout(draw.uniform(0, 1.5)):
                attempt, _ = await route.first_good(shaky)
        except (TimeoutError, DeploymentError):
            return
        if draw.random() < 0.3:
            attempt.failed(UNREACHABLE)
        else:
            draw.choice([attempt.succeeded, attempt.abandoned])()

    await asyncio.gather(*map(one, range(200)))

    assert under_way(setting.fleet, setting.servings) == {}
    await asyncio.sleep(200)
    assert setting.fleet.choose(a) is not None
    assert setting.fleet.choose(b) is not None
