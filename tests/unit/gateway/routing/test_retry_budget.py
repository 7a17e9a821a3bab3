"""How many second attempts an endpoint is given."""

from gateway.routing.retry_budget import ALWAYS_ALLOWED, RetryBudget
from tests.unit.gateway.parts import Clock


def budget(requests: int = 0, *, running: int = 0, clock: Clock | None = None) -> RetryBudget:
    found = RetryBudget(clock or Clock())
    for _ in range(requests):
        found.note_request()
    for _ in range(running):
        found.begin_retry()
    return found


def test_three_at_once_are_always_allowed() -> None:
    assert [budget(running=running).allows_retry for running in range(ALWAYS_ALLOWED + 1)] == [
        True,
        True,
        True,
        False,
    ]


def test_retry_that_ended_makes_room() -> None:
    full = budget(running=ALWAYS_ALLOWED)

    full.end_retry()

    assert full.allows_retry


def test_past_three_a_tenth_of_the_requests_is_allowed() -> None:
    assert budget(40, running=3).allows_retry
    assert not budget(39, running=3).allows_retry
    assert budget(100, running=9).allows_retry
    assert not budget(100, running=10).allows_retry


def test_requests_of_ten_seconds_ago_do_not_count() -> None:
    clock = Clock()
    old = budget(1000, running=3, clock=clock)

    clock.now += 10

    assert not old.allows_retry
