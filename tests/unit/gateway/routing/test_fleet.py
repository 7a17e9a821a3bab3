"""Which endpoint is asked, and what is remembered of all of them."""

from collections import Counter
from typing import Any

import httpx
import pytest

from gateway.routing.breaker import FIRST_OPEN_S, JITTER
from gateway.routing.endpoint_state import AVOIDED_FOR_S
from gateway.routing.fleet import MAX_REMEMBERED, Fleet
from gateway.routing.limits import Limits
from gateway.routing.line import Lane
from selfhosted_models.endpoints import Endpoint
from selfhosted_models.errors import UpstreamRejected, UpstreamUnreachable
from selfhosted_models.serving import ServingConfig
from tests.unit.gateway.parts import Clock, door, serving

FIRST, SECOND, THIRD = (f"http://10.0.4.1{number}/v1" for number in range(3))


def fleet(clock: Clock | None = None, **limits: Any) -> Fleet:
    return Fleet(door(lambda _: httpx.Response(200)), Limits(**limits), clock or Clock())


def load(fleet: Fleet, serving: ServingConfig, *in_flight: int) -> None:
    """Send so many requests to each of the endpoints."""
    for endpoint, count in zip(serving.endpoints, in_flight, strict=True):
        for _ in range(count):
            fleet.state_of(serving.deployment, endpoint).begin()


def open_circuit(fleet: Fleet, serving: ServingConfig, endpoint: Endpoint) -> None:
    for _ in range(5):
        fleet.state_of(serving.deployment, endpoint).note_failure(UpstreamUnreachable("down"))


def chosen(fleet: Fleet, serving: ServingConfig, times: int = 50) -> Counter[str]:
    """Return how often each endpoint is chosen while nothing changes."""
    found = (fleet.choose(serving) for _ in range(times))
    return Counter(endpoint.url if endpoint else "" for endpoint in found)


# --- Choice --------------------------------------------------------------------------------------


def test_less_loaded_endpoint_is_chosen() -> None:
    two = serving(endpoints=[FIRST, SECOND])
    busy = fleet()
    load(busy, two, 3, 2)

    assert chosen(busy, two).keys() == {SECOND}


def test_most_loaded_of_many_is_never_chosen_the_others_are() -> None:
    many = serving(endpoints=[FIRST, SECOND, THIRD])
    busy = fleet()
    load(busy, many, 0, 1, 2)

    assert chosen(busy, many, 200).keys() == {FIRST, SECOND}


def test_load_is_measured_against_the_weight() -> None:
    two = serving(endpoints=[FIRST, f"{SECOND} weight=3"])
    busy = fleet()
    load(busy, two, 1, 2)

    assert chosen(busy, two).keys() == {SECOND}


def test_idle_endpoints_have_their_share_of_requests_that_come_one_by_one() -> None:
    two = serving(endpoints=[FIRST, f"{SECOND} weight=3"])

    counts = chosen(fleet(), two, 2000)

    assert 0.2 < counts[FIRST] / 2000 < 0.3


def test_endpoints_tried_already_are_left_out() -> None:
    two = serving(endpoints=[FIRST, SECOND])
    first, second = two.endpoints

    assert fleet().choose(two, tried=[first]) == second
    assert fleet().choose(two, tried=[first, second]) is None


def test_open_circuit_is_passed_over_until_it_is_ripe_and_then_tried_once() -> None:
    clock = Clock()
    failing, one = fleet(clock), serving(endpoints=[FIRST])
    (endpoint,) = one.endpoints
    open_circuit(failing, one, endpoint)
    during = failing.choose(one)

    clock.now += FIRST_OPEN_S * (1 + JITTER)
    ripe = failing.choose(one)
    failing.state_of(one.deployment, endpoint).begin()

    assert (during, ripe, failing.choose(one)) == (None, endpoint, None)


def test_the_other_endpoint_is_chosen_while_a_circuit_is_open() -> None:
    two = serving(endpoints=[FIRST, SECOND])
    failing = fleet()
    open_circuit(failing, two, two.endpoints[0])
    load(failing, two, 0, 50)

    assert chosen(failing, two).keys() == {SECOND}


def test_endpoint_that_refuses_us_is_asked_only_if_there_is_no_other() -> None:
    clock = Clock()
    two, one = serving(endpoints=[FIRST, SECOND]), serving(endpoints=[FIRST])
    refused = fleet(clock)
    refused.state_of(two.deployment, two.endpoints[0]).note_failure(
        UpstreamRejected("wrong key", status=401)
    )

    assert chosen(refused, two).keys() == {SECOND}
    assert chosen(refused, one).keys() == {FIRST}
    clock.now += AVOIDED_FOR_S
    assert chosen(refused, two).keys() == {FIRST, SECOND}


def test_deployment_says_when_the_first_of_its_endpoints_may_be_tried() -> None:
    clock = Clock()
    two = serving(endpoints=[FIRST, SECOND])
    failing = fleet(clock)
    open_circuit(failing, two, two.endpoints[0])
    clock.now += 5
    open_circuit(failing, two, two.endpoints[1])

    assert 2 <= failing.opens_again_in_s(two) <= 7


# --- Memory --------------------------------------------------------------------------------------


def test_two_deployments_at_one_url_are_known_apart() -> None:
    failing = fleet()
    here, there = serving("here", endpoints=[FIRST]), serving("there", endpoints=[FIRST])

    open_circuit(failing, here, here.endpoints[0])

    assert failing.choose(here) is None
    assert failing.choose(there) == there.endpoints[0]


@pytest.mark.parametrize(("workers", "share"), [(1, 8), (3, 2), (8, 1), (20, 1)])
def test_workers_share_the_slots_of_a_deployment(workers: int, share: int) -> None:
    assert fleet(workers=workers).line_of(serving(max_in_flight=8)).limit == share


async def test_new_configuration_changes_limits_and_keeps_circuits() -> None:
    running = fleet()
    before = serving(endpoints=[FIRST, SECOND], max_in_flight=8)
    line = running.line_of(before)
    await line.enter(Lane.CHAT, "a", by=1e9)
    open_circuit(running, before, before.endpoints[0])

    after = serving(endpoints=[f"{FIRST} weight=3"], max_in_flight=2)
    running.take_over([after])

    assert running.line_of(after) is line
    assert (line.limit, line.in_flight) == (2, 1)
    assert running.choose(after) is None


def test_what_is_no_longer_configured_is_forgotten() -> None:
    running = fleet()
    gone = serving("gone", endpoints=[FIRST])
    open_circuit(running, gone, gone.endpoints[0])
    line = running.line_of(gone)

    running.take_over([])

    assert running.choose(gone) == gone.endpoints[0]
    assert running.line_of(gone) is not line


async def test_what_is_under_way_is_not_forgotten() -> None:
    running = fleet()
    gone = serving("gone", endpoints=[FIRST])
    line, state = running.line_of(gone), running.state_of("gone", gone.endpoints[0])
    entered_at = await line.enter(Lane.CHAT, "a", by=1e9)
    call = state.begin()

    running.take_over([])

    assert running.line_of(gone) is line
    assert running.state_of("gone", gone.endpoints[0]) is state
    call.succeeded()
    line.leave(entered_at)
    running.take_over([])
    assert running.line_of(gone) is not line


def test_servers_that_callers_bring_do_not_add_up() -> None:
    open_to_all = fleet()
    busy = serving("busy", endpoints=[FIRST])
    kept = open_to_all.state_of("busy", busy.endpoints[0])
    kept.begin()
    brought = [serving(f"{number}", endpoints=[FIRST]) for number in range(MAX_REMEMBERED)]
    states = [open_to_all.state_of(item.deployment, item.endpoints[0]) for item in brought]

    first, last = brought[0], brought[-1]

    assert open_to_all.state_of(last.deployment, last.endpoints[0]) is states[-1]
    assert open_to_all.state_of(first.deployment, first.endpoints[0]) is not states[0]
    assert open_to_all.state_of("busy", busy.endpoints[0]) is kept
