"""What one user may ask: at once, a minute, and whatever others do."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from gateway.routing.errors import QuotaExceeded, WorkerBusy
from gateway.routing.limits import Limits
from gateway.routing.quotas import MAX_USERS, Quotas, Turn
from tests.unit.gateway.parts import Clock


def quotas(clock: Clock | None = None, **limits: int) -> Quotas:
    return Quotas(Limits(**limits), clock or Clock())


def ask(quotas: Quotas, times: int, user: str = "a") -> None:
    """Make requests that are over at once."""
    for _ in range(times):
        quotas.enter(user).leave()


def test_ninth_request_at_once_is_refused() -> None:
    counting = quotas()
    turns = [counting.enter("a") for _ in range(8)]

    with pytest.raises(QuotaExceeded, match="8 requests at once") as refused:
        counting.enter("a")

    turns[0].leave()
    counting.enter("a")
    assert refused.value.retry_after_s == 1


def test_sixty_first_request_of_a_minute_is_refused_until_the_next_is_due() -> None:
    clock = Clock()
    counting = quotas(clock)
    ask(counting, 60)

    with pytest.raises(QuotaExceeded, match="60 requests a minute") as refused:
        counting.enter("a")
    clock.now += refused.value.retry_after_s
    ask(counting, 1)

    assert refused.value.retry_after_s == 1


def test_rare_requests_wait_a_minute_for_the_next() -> None:
    counting = quotas(user_per_minute=1)
    ask(counting, 1)

    with pytest.raises(QuotaExceeded) as refused:
        counting.enter("a")

    assert refused.value.retry_after_s == 60


def test_other_users_are_not_touched() -> None:
    counting = quotas()
    ask(counting, 60, "a")

    ask(counting, 60, "b")


def test_refused_request_costs_nothing() -> None:
    clock = Clock()
    counting = quotas(clock, user_in_flight=1, user_per_minute=2)
    turn = counting.enter("a")
    for _ in range(5):
        with pytest.raises(QuotaExceeded):
            counting.enter("a")

    turn.leave()
    counting.enter("a").leave()

    assert counting.in_flight == 0


def test_nobody_in_particular_has_no_quota() -> None:
    counting = quotas()

    for _ in range(100):
        counting.enter("")

    assert counting.in_flight == 100


def test_zero_is_no_limit() -> None:
    counting = quotas(user_in_flight=0, user_per_minute=0)

    for _ in range(100):
        counting.enter("a")

    assert counting.in_flight == 100


def test_worker_with_its_hands_full_refuses_everybody_and_charges_nobody() -> None:
    counting = quotas(worker_in_flight=2, user_per_minute=1)
    turns = [counting.enter(""), counting.enter("b")]
    for user in ("", "a", "c"):
        with pytest.raises(WorkerBusy):
            counting.enter(user)

    turns[0].leave()
    counting.enter("a")

    assert counting.in_flight == 2


def test_users_who_asked_nothing_for_a_minute_are_forgotten_with_no_gain() -> None:
    clock = Clock()
    counting = quotas(clock, user_per_minute=1, user_in_flight=1)
    for number in range(MAX_USERS - 1):
        counting.enter(f"old {number}").leave()
    waiting = counting.enter("waits for an answer")
    clock.now += 59.9
    ask(counting, 1, "new")
    with pytest.raises(QuotaExceeded):
        counting.enter("old 1")

    clock.now += 60
    ask(counting, 1, "newer")
    with pytest.raises(QuotaExceeded, match="1 requests at once"):
        counting.enter("waits for an answer")
    waiting.leave()

    assert counting.in_flight == 0
    with pytest.raises(QuotaExceeded):
        counting.enter("newer")


LIMITS = Limits(worker_in_flight=6, user_in_flight=3, user_per_minute=12)


class QuotasMachine(RuleBasedStateMachine):
    """Requests of three users and of nobody, in any order."""

    turns = Bundle("turns")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.quotas = Quotas(LIMITS, self.clock)
        self.under_way: list[str] = []
        self.admitted: dict[str, list[float]] = {"": [], "a": [], "b": [], "c": []}

    @rule(target=turns, user=st.sampled_from(["", "a", "b", "c"]))
    def enter(self, user: str) -> object:
        try:
            turn = self.quotas.enter(user)
        except WorkerBusy:
            assert len(self.under_way) == LIMITS.worker_in_flight
            return multiple()
        except QuotaExceeded as refused:
            self.judge_refusal(user, refused)
            return multiple()
        self.under_way.append(user)
        self.admitted[user].append(self.clock.now)
        assert len(self.under_way) <= LIMITS.worker_in_flight
        if user:
            assert self.under_way.count(user) <= LIMITS.user_in_flight
            self.judge_rate(self.admitted[user])
        return user, turn

    def judge_refusal(self, user: str, refused: QuotaExceeded) -> None:
        assert user
        assert 1 <= refused.retry_after_s <= 60
        if self.under_way.count(user) < LIMITS.user_in_flight:
            # Who comes back when told to is let through, as far as the rate goes.
            assert len(self.admitted[user]) >= LIMITS.user_per_minute
            earliest = self.admitted[user][-LIMITS.user_per_minute]
            assert self.clock.now - earliest < 60

    def judge_rate(self, times: list[float]) -> None:
        """A minute's worth at once, and from then on no more than is earned."""
        for began in times:
            made = sum(at >= began for at in times)
            earned = (times[-1] - began) * LIMITS.user_per_minute / 60
            assert made <= LIMITS.user_per_minute + earned + 1e-6

    @rule(entered=consumes(turns))
    def leave(self, entered: tuple[str, Turn]) -> None:
        user, turn = entered
        turn.leave()
        self.under_way.remove(user)

    @rule(passed_s=st.sampled_from([0.1, 1, 4.9, 30, 100]))
    def wait(self, passed_s: float) -> None:
        self.clock.now += passed_s

    @invariant()
    def all_under_way_are_counted(self) -> None:
        assert self.quotas.in_flight == len(self.under_way)


QuotasMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
TestQuotasMachine = QuotasMachine.TestCase
