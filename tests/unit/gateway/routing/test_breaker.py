"""The circuit breaker: when it opens, for how long, and how it closes again."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from gateway.routing.breaker import (
    FIRST_OPEN_S,
    JITTER,
    LONGEST_OPEN_S,
    SHARE_NEEDS_REQUESTS,
    SHARE_WINDOW_S,
    Breaker,
)
from tests.unit.gateway.parts import Clock

FAILURES = 5
NO_JITTER = 0.5


def breaker(clock: Clock, failures: int = FAILURES, draw: float = NO_JITTER) -> Breaker:
    return Breaker(clock, failures, lambda: draw)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed(breaker.begin())


def opened(clock: Clock, draw: float = NO_JITTER) -> Breaker:
    found = breaker(clock, draw=draw)
    fail(found, FAILURES)
    return found


def test_failures_in_a_row_open_it() -> None:
    counting = breaker(Clock())

    fail(counting, FAILURES - 1)
    before = counting.lets_through
    fail(counting, 1)

    assert (before, counting.lets_through) == (True, False)


def test_success_between_failures_keeps_it_closed() -> None:
    counting = breaker(Clock())

    fail(counting, FAILURES - 1)
    counting.succeeded()
    fail(counting, FAILURES - 1)

    assert counting.is_closed


def test_half_of_twenty_failures_in_thirty_seconds_open_it() -> None:
    counting = breaker(Clock())

    for _ in range(SHARE_NEEDS_REQUESTS // 2 - 1):
        counting.succeeded()
        fail(counting, 1)
    counting.succeeded()
    before = counting.is_closed
    fail(counting, 1)

    assert (before, counting.is_closed) == (True, False)


def test_failures_spread_over_more_than_thirty_seconds_do_not_open_it() -> None:
    clock = Clock()
    counting = breaker(clock)

    for _ in range(SHARE_NEEDS_REQUESTS):
        counting.succeeded()
        fail(counting, 1)
        clock.now += SHARE_WINDOW_S / SHARE_NEEDS_REQUESTS * 2.5

    assert counting.is_closed


def test_without_a_limit_it_never_opens() -> None:
    tireless = breaker(Clock(), failures=0)

    fail(tireless, 1000)

    assert tireless.lets_through


def test_open_circuit_tells_when_it_may_be_tried() -> None:
    clock = Clock()
    open_one = opened(clock)

    clock.now += 4

    assert open_one.opens_again_in_s == FIRST_OPEN_S - 4
    assert breaker(clock).opens_again_in_s == 0


@pytest.mark.parametrize(
    ("draw", "open_s"), [(0, FIRST_OPEN_S * (1 - JITTER)), (1, FIRST_OPEN_S * (1 + JITTER))]
)
def test_trials_of_many_workers_are_spread(draw: float, open_s: float) -> None:
    clock = Clock()
    open_one = opened(clock, draw)

    clock.now += open_s - 0.1
    before = open_one.lets_through
    clock.now += 0.2

    assert (before, open_one.lets_through) == (False, True)


def test_one_trial_at_a_time() -> None:
    clock = Clock()
    ripe = opened(clock)
    clock.now += FIRST_OPEN_S

    trial = ripe.begin()

    assert trial is not None
    assert not ripe.lets_through


def test_trial_that_succeeds_closes_it() -> None:
    clock = Clock()
    ripe = opened(clock)
    clock.now += FIRST_OPEN_S

    ripe.begin()
    ripe.succeeded()

    assert ripe.is_closed
    assert not ripe.has_recent_failures


def open_times(clock: Clock) -> Iterator[float]:
    """Yield how long it stays open, one failed trial after another."""
    failing = opened(clock)
    while True:
        yield failing.opens_again_in_s
        clock.now += failing.opens_again_in_s
        fail(failing, 1)


def test_open_time_doubles_with_each_failed_trial() -> None:
    times = open_times(Clock())

    assert [next(times) for _ in range(6)] == [10, 20, 40, 80, LONGEST_OPEN_S, LONGEST_OPEN_S]


def test_open_time_begins_anew_after_a_success() -> None:
    clock = Clock()
    failing = opened(clock)
    clock.now += FIRST_OPEN_S
    fail(failing, 1)
    failing.succeeded()

    fail(failing, FAILURES)

    assert failing.opens_again_in_s == FIRST_OPEN_S


def test_trial_whose_client_leaves_makes_room_for_the_next() -> None:
    clock = Clock()
    ripe = opened(clock)
    clock.now += FIRST_OPEN_S

    ripe.abandoned(ripe.begin())

    assert ripe.lets_through
    assert not ripe.is_closed


def test_failure_from_before_it_opened_does_not_prolong_it() -> None:
    clock = Clock()
    open_one = opened(clock)
    clock.now += 9

    open_one.failed(None)

    assert open_one.opens_again_in_s == 1


def test_trial_outlived_by_its_circuit_is_a_request_like_any_other() -> None:
    """A request from before it opened succeeds late, and closes it while the trial runs."""
    clock = Clock()
    recovered = opened(clock)
    clock.now += FIRST_OPEN_S
    trial = recovered.begin()
    recovered.succeeded()

    recovered.failed(trial)

    assert recovered.is_closed


def test_trial_of_an_earlier_opening_does_not_end_that_of_a_later_one() -> None:
    clock = Clock()
    reopened = opened(clock)
    clock.now += FIRST_OPEN_S
    earlier = reopened.begin()
    reopened.succeeded()
    fail(reopened, FAILURES)
    clock.now += FIRST_OPEN_S
    reopened.begin()

    reopened.abandoned(earlier)

    assert not reopened.lets_through


class BreakerMachine(RuleBasedStateMachine):
    """Requests that begin and end in any order, against what the rules say."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.draws: list[float] = []
        self.breaker = Breaker(self.clock, FAILURES, lambda: self.drawn)
        self.drawn = NO_JITTER
        self.trials: list[object] = []  # under way, of this opening
        self.in_a_row = 0
        self.ended: list[tuple[float, bool]] = []  # when, and whether it failed

    @precondition(lambda self: self.breaker.lets_through)
    @rule(target=calls, count=st.integers(1, 8))
    def begin(self, count: int) -> object:
        was_closed = self.breaker.is_closed
        begun = [self.breaker.begin() for _ in range(count if was_closed else 1)]
        trials = [trial for trial in begun if trial is not None]
        assert len(trials) == (0 if was_closed else 1)
        self.trials += trials
        return multiple(*begun)

    @rule(call=consumes(calls))
    def succeed(self, call: object) -> None:
        was_closed = self.breaker.is_closed
        self.breaker.succeeded()
        self.in_a_row = 0
        self.ended = (
            [*self.ended, (self.clock.now, False)] if was_closed else [(self.clock.now, False)]
        )
        self.trials.clear()
        assert self.breaker.is_closed

    @rule(call=consumes(calls), drawn=st.floats(0, 1))
    def fail(self, call: object, drawn: float) -> None:
        self.drawn = drawn
        was_closed, is_trial = self.breaker.is_closed, call in self.trials
        waited_s = self.breaker.opens_again_in_s
        self.breaker.failed(call)
        self.in_a_row += 1
        self.ended.append((self.clock.now, True))
        if is_trial:
            self.trials.remove(call)
        if was_closed:
            assert self.breaker.is_closed is not self.is_one_too_many()
        elif not is_trial:
            assert self.breaker.opens_again_in_s == waited_s
        if is_trial or (was_closed and not self.breaker.is_closed):
            shortest = FIRST_OPEN_S * (2 if is_trial else 1) * (1 - JITTER)
            longest = LONGEST_OPEN_S * (1 + JITTER)
            assert shortest <= self.breaker.opens_again_in_s + 1e-6 <= longest + 2e-6

    @rule(call=consumes(calls))
    def abandon(self, call: object) -> None:
        was_closed = self.breaker.is_closed
        self.breaker.abandoned(call)
        if call in self.trials:
            self.trials.remove(call)
        assert self.breaker.is_closed is was_closed

    @rule(passed_s=st.sampled_from([0.1, 1, 9, 15, 40, LONGEST_OPEN_S * (1 + JITTER)]))
    def wait(self, passed_s: float) -> None:
        self.clock.now += passed_s

    def is_one_too_many(self) -> bool:
        oldest = int(self.clock.now) - SHARE_WINDOW_S
        recent = [failed for at, failed in self.ended if int(at) > oldest]
        is_share = len(recent) >= SHARE_NEEDS_REQUESTS and 2 * sum(recent) >= len(recent)
        return self.in_a_row >= FAILURES or is_share

    @invariant()
    def at_most_one_trial_is_under_way(self) -> None:
        assert len(self.trials) <= 1

    @invariant()
    def a_request_is_let_through_when_closed_or_ripe_for_a_trial(self) -> None:
        is_ripe = not self.breaker.opens_again_in_s and not self.trials
        assert self.breaker.lets_through is (self.breaker.is_closed or is_ripe)


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBreakerMachine = BreakerMachine.TestCase
