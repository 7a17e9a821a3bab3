"""What is known of one endpoint: its load, its health and why."""

from typing import Any

import pytest

from gateway.routing.breaker import FIRST_OPEN_S
from gateway.routing.endpoint_state import (
    ANSWERS_OTHERS_WITHIN_S,
    AVOIDED_FOR_S,
    HISTORY_LENGTH,
    EndpointState,
    HealthState,
    is_server_failure,
)
from selfhosted_models.errors import (
    DeploymentError,
    EndpointRefused,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from tests.unit.gateway.parts import Clock

WALL = 1_800_000_000.0
REFUSED = UpstreamUnreachable("The model server of gpu1 cannot be reached.")


def rejected(status: int, **facts: Any) -> UpstreamRejected:
    return UpstreamRejected(f"It answered {status}.", status=status, **facts)


def endpoint(clock: Clock | None = None, failures: int = 5) -> EndpointState:
    now = clock or Clock()
    return EndpointState(failures, now, lambda: WALL + now(), lambda: 0.5)


def opened(clock: Clock) -> EndpointState:
    state = endpoint(clock)
    for _ in range(5):
        state.begin().failed(REFUSED)
    return state


# --- Load ----------------------------------------------------------------------------------------


def test_request_counts_until_it_is_over_whichever_way_it_ends() -> None:
    state = endpoint()
    calls = [state.begin(is_retry=number == 0) for number in range(3)]
    under_way = state.in_flight

    calls[0].succeeded()
    calls[1].failed(REFUSED)
    calls[2].abandoned()

    assert (under_way, state.in_flight) == (3, 0)


def test_request_ends_once() -> None:
    state = endpoint()
    call = state.begin(is_retry=True)

    call.succeeded()
    call.succeeded()
    call.failed(REFUSED)
    call.abandoned()

    assert state.in_flight == 0
    assert state.health.state is HealthState.HEALTHY


def test_retries_are_counted_as_such() -> None:
    state = endpoint()

    calls = [state.begin(is_retry=True) for _ in range(3)]
    used_up = state.retry_budget.allows_retry
    calls[0].abandoned()

    assert (used_up, state.retry_budget.allows_retry) == (False, True)


# --- Verdicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (REFUSED, True),
        (UpstreamTimeout(""), True),
        (UpstreamProtocolError(""), True),
        (UpstreamTruncated(""), True),
        (rejected(500), True),
        (rejected(503), True),
        (rejected(529), True),
        (rejected(400, is_overloaded=True), True),
        (rejected(400), False),
        (rejected(401), False),
        (rejected(403), False),
        (rejected(404), False),
        (rejected(413), False),
        (rejected(422), False),
        (rejected(429), False),
        (EndpointRefused(""), False),
    ],
    ids=lambda value: repr(value),
)
def test_what_the_server_did_wrong_counts_what_we_did_does_not(
    error: DeploymentError, *, counts: bool
) -> None:
    state = endpoint(failures=1)

    state.begin().failed(error)

    assert is_server_failure(error) is counts
    assert state.breaker.is_closed is not counts


def test_request_whose_client_left_tells_nothing() -> None:
    state = endpoint(failures=1)

    state.begin().abandoned()

    assert state.health.state is HealthState.STARTING
    assert state.last_heard_at is None
    assert state.breaker.is_closed


def test_trial_whose_client_left_makes_room_for_the_next() -> None:
    clock = Clock()
    state = opened(clock)
    clock.now += FIRST_OPEN_S

    trial = state.begin()
    during = state.breaker.lets_through
    trial.abandoned()

    assert (during, state.breaker.lets_through, state.breaker.is_closed) == (False, True, False)


def test_trial_that_meets_a_refusal_tells_nothing_of_the_servers_failing() -> None:
    clock = Clock()
    state = opened(clock)
    clock.now += FIRST_OPEN_S

    state.begin().failed(rejected(429))

    assert state.breaker.lets_through
    assert not state.breaker.is_closed


def test_trial_that_begins_to_answer_closes_the_circuit_and_may_still_fail() -> None:
    clock = Clock()
    state = opened(clock)
    clock.now += FIRST_OPEN_S

    trial = state.begin()
    trial.answers()
    closed = state.breaker.is_closed
    trial.failed(UpstreamTruncated("It broke off."))

    assert closed
    assert state.breaker.is_closed  # one failure: no more than any other request
    assert state.health.state is HealthState.DEGRADED


# --- Health --------------------------------------------------------------------------------------


def test_endpoint_starts_unknown() -> None:
    state = endpoint(Clock(0.0))

    assert (state.health.state, state.health.reason) == (HealthState.STARTING, "")
    assert state.health.since == WALL


def test_health_follows_what_requests_meet() -> None:
    clock = Clock()
    state = endpoint(clock)

    state.begin().succeeded()
    state.begin().failed(REFUSED)
    state.begin().succeeded()  # it failed another just now
    clock.now += 30
    state.begin().succeeded()

    assert [change.state for change in state.history] == [
        HealthState.STARTING,
        HealthState.HEALTHY,
        HealthState.DEGRADED,
        HealthState.HEALTHY,
    ]
    assert state.history[2].reason == REFUSED.safe_message
    assert state.health.since == WALL + clock.now


def test_endpoint_with_an_open_circuit_is_down_until_it_answers() -> None:
    clock = Clock()
    state = opened(clock)
    down = state.health

    clock.now += FIRST_OPEN_S
    state.begin().succeeded()

    assert (down.state, down.reason) == (HealthState.DOWN, REFUSED.safe_message)
    assert (state.health.state, state.health.reason) == (HealthState.HEALTHY, "")


@pytest.mark.parametrize(
    "error", [rejected(401), rejected(403), rejected(404), EndpointRefused("Not allowed.")]
)
def test_endpoint_that_refuses_us_is_down_and_passed_over_for_a_while(
    error: DeploymentError,
) -> None:
    clock = Clock()
    state = endpoint(clock)

    state.begin().failed(error)
    at_once = state.is_avoided
    clock.now += AVOIDED_FOR_S

    assert (at_once, state.is_avoided) == (True, False)
    assert (state.health.state, state.health.reason) == (HealthState.DOWN, error.safe_message)


def test_endpoint_that_answers_is_no_longer_passed_over() -> None:
    state = endpoint()
    state.begin().failed(rejected(401))

    state.note_success()

    assert not state.is_avoided
    assert state.health.state is HealthState.HEALTHY


def test_server_over_its_own_limit_is_degraded() -> None:
    state = endpoint()

    state.begin().failed(rejected(429))

    assert state.health.state is HealthState.DEGRADED


def test_bad_request_says_nothing_of_the_servers_health() -> None:
    state = endpoint()
    state.begin().succeeded()

    state.begin().failed(rejected(400))

    assert state.health.state is HealthState.HEALTHY


def test_probe_counts_as_a_request_does() -> None:
    clock = Clock()
    state = endpoint(clock, failures=2)

    state.note_failure(REFUSED)
    state.note_failure(REFUSED)
    down = state.breaker.is_closed
    state.note_success()

    assert (down, state.breaker.is_closed) == (False, True)
    assert state.last_heard_at == clock.now


def test_history_holds_changes_and_is_bounded() -> None:
    clock = Clock()
    state = endpoint(clock, failures=0)

    for _ in range(HISTORY_LENGTH):
        state.note_failure(REFUSED)
        state.note_failure(REFUSED)
        clock.now += 30
        state.note_success()

    assert len(state.history) == HISTORY_LENGTH
    states = [change.state for change in state.history]
    assert states == [HealthState.DEGRADED, HealthState.HEALTHY] * (HISTORY_LENGTH // 2)


# --- Whose failures they are ---------------------------------------------------------------------


def test_failures_of_one_user_close_nobody_else_out() -> None:
    state = endpoint()
    state.begin("jane").succeeded()

    for _ in range(10):
        state.begin("mallory").failed(rejected(500))

    assert state.breaker.is_closed
    assert state.health.state is HealthState.DEGRADED


def test_server_that_answers_nobody_any_more_is_left_alone() -> None:
    clock = Clock()
    state = endpoint(clock)
    state.begin("jane").succeeded()
    clock.now += ANSWERS_OTHERS_WITHIN_S + 1

    for _ in range(5):
        state.begin("mallory").failed(rejected(500))

    assert not state.breaker.is_closed


def test_own_success_excuses_nothing() -> None:
    state = endpoint()
    state.begin("jane").succeeded()

    for _ in range(5):
        state.begin("jane").failed(rejected(500))

    assert not state.breaker.is_closed
