"""The line before a deployment: lanes, turns of users, refusals, and slots that come back."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.routing.errors import DeploymentBusy
from gateway.routing.limits import Limits
from gateway.routing.line import SHARED_FROM, Lane, Line, Slot
from tests.unit.gateway import virtual_time
from tests.unit.gateway.manual_time import ManualTimeLoop

LIMITS = Limits(queue_size=4, queue_wait_s=2.0)
LANES = st.sampled_from(Lane)
USERS = st.sampled_from("abc")
FEW_SLOTS = st.integers(0, SHARED_FROM - 1)


def now() -> float:
    return asyncio.get_running_loop().time()


def line(limit: int = 1, limits: Limits = LIMITS) -> Line:
    found = Line("gpu1", limits, now)
    found.lend(limit)
    return found


async def join(
    line: Line, lane: Lane = Lane.CHAT, user: str = "a", patience_s: float = 60
) -> asyncio.Task[Slot]:
    """Ask for a slot and go as far as that goes at once."""
    entering = asyncio.create_task(line.enter(lane, user, by=now() + patience_s))
    await asyncio.sleep(0)
    return entering


async def order_of_admission(line: Line, waiting: dict[str, asyncio.Task[Slot]]) -> list[str]:
    """Return names of `waiting` as they are admitted, one slot coming free after the other."""
    admitted: list[str] = []
    slot = Slot("a", now())  # of `join`, which filled the line
    while line.in_flight:
        line.leave(waiting[admitted[-1]].result() if admitted else slot)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        admitted += [name for name, task in waiting.items() if task.done() and name not in admitted]
    return admitted


# --- Slots ---------------------------------------------------------------------------------------


@virtual_time.passes_at_once
async def test_free_slots_are_had_at_once() -> None:
    waiting = line(2)

    tasks = [await join(waiting) for _ in range(3)]

    assert [task.done() for task in tasks] == [True, True, False]
    assert (waiting.in_flight, waiting.waiting) == (2, 1)
    tasks[2].cancel()


@virtual_time.passes_at_once
async def test_slot_that_comes_free_goes_to_who_waits() -> None:
    full = line()
    first = await join(full)
    second = await join(full)

    full.leave(await first)
    await second

    assert (full.in_flight, full.waiting) == (1, 0)


@virtual_time.passes_at_once
async def test_higher_limit_admits_who_waits() -> None:
    full = line()
    await join(full)
    waiting = [await join(full) for _ in range(2)]

    full.lend(3)
    await asyncio.gather(*waiting)

    assert (full.in_flight, full.waiting) == (3, 0)


@virtual_time.passes_at_once
async def test_lower_limit_admits_nobody_until_enough_have_left() -> None:
    full = line(3)
    tasks = [await join(full) for _ in range(4)]

    full.lend(1)
    full.leave(await tasks[0])
    full.leave(await tasks[1])
    await asyncio.sleep(0)
    over = tasks[3].done()
    full.leave(await tasks[2])
    await tasks[3]

    assert not over
    assert full.in_flight == 1


@virtual_time.passes_at_once
async def test_slots_that_others_wait_for_are_not_given_out_again() -> None:
    full = line(3)
    tasks = [await join(full) for _ in range(4)]

    full.lend(3, shrinks_to=2)
    full.leave(await tasks[0])
    await asyncio.sleep(0)
    given_back = full.limit, tasks[3].done()
    full.leave(await tasks[1])
    await tasks[3]

    assert given_back == (2, False)
    assert (full.limit, full.in_flight) == (2, 2)


@virtual_time.passes_at_once
async def test_more_slots_are_asked_for_when_a_request_has_to_wait() -> None:
    asked: list[str] = []
    full = Line("gpu1", LIMITS, now, lambda: asked.append("more"))
    full.lend(1)

    await join(full)
    before = [*asked]
    await join(full)

    assert (before, asked) == ([], ["more"])


@virtual_time.passes_at_once
async def test_without_any_slot_all_wait_their_time() -> None:
    closed = line(0)
    began = now()

    with pytest.raises(DeploymentBusy):
        await closed.enter(Lane.CHAT, "a", by=began + 60)

    assert now() - began >= LIMITS.queue_wait_s
    assert closed.is_idle


# --- Order ---------------------------------------------------------------------------------------


@virtual_time.passes_at_once
async def test_completions_go_before_checks_before_chat_before_batch() -> None:
    full = line()
    await join(full)

    waiting = {lane.name: await join(full, lane) for lane in reversed(Lane)}

    assert await order_of_admission(full, waiting) == ["COMPLETION", "CHECK", "CHAT", "BATCH"]


@virtual_time.passes_at_once
async def test_users_of_a_lane_take_turns() -> None:
    full = line(limits=Limits(queue_size=6))
    await join(full)

    waiting = {
        name: await join(full, user=name[0]) for name in ("a1", "a2", "a3", "b1", "b2", "c1")
    }

    assert await order_of_admission(full, waiting) == ["a1", "b1", "c1", "a2", "b2", "a3"]


@virtual_time.passes_at_once
async def test_newcomer_waits_for_two_completions_of_a_user_with_fifty_in_line() -> None:
    full = line(limits=Limits(queue_size=64))
    await join(full)
    many = {f"a{number}": await join(full) for number in range(50)}

    newcomer = {"b": await join(full, user="b")}

    order = await order_of_admission(full, many | newcomer)
    assert order.index("b") < 2


@virtual_time.passes_at_once
async def test_turns_are_of_a_lane() -> None:
    full = line(limits=Limits(queue_size=6))
    await join(full)

    waiting = {
        "a's completion": await join(full, Lane.COMPLETION),
        "a's chat": await join(full),
        "b's chat": await join(full, user="b"),
        "a's other completion": await join(full, Lane.COMPLETION),
    }

    assert await order_of_admission(full, waiting) == [
        "a's completion",
        "a's other completion",
        "a's chat",
        "b's chat",
    ]


# --- Refusals ------------------------------------------------------------------------------------


async def after_requests_of(full: Line, seconds: float) -> None:
    """Let one request take `seconds`, so that the line knows what to expect, then fill it."""
    entered_at = await full.enter(Lane.CHAT, "a", by=now() + 1)
    await asyncio.sleep(seconds)
    full.leave(entered_at)
    for _ in range(full.limit):
        await full.enter(Lane.CHAT, "a", by=now() + 1)


@virtual_time.passes_at_once
async def test_who_is_not_admitted_in_time_is_told_when_to_come_again() -> None:
    full = line()
    await join(full)
    began = now()

    with pytest.raises(DeploymentBusy) as busy:
        await full.enter(Lane.CHAT, "b", by=began + 60)

    assert LIMITS.queue_wait_s <= now() - began < LIMITS.queue_wait_s + 1
    assert 1 <= busy.value.retry_after_s <= 5
    assert "gpu1 is busy" in busy.value.safe_message
    assert full.waiting == 0


@virtual_time.passes_at_once
async def test_deadline_ends_the_wait_early() -> None:
    full = line()
    await join(full)
    began = now()

    with pytest.raises(DeploymentBusy):
        await full.enter(Lane.CHAT, "b", by=began + 0.5)

    assert 0.5 <= now() - began < LIMITS.queue_wait_s


@virtual_time.passes_at_once
async def test_who_cannot_make_it_is_told_at_once() -> None:
    full = line()
    await after_requests_of(full, 3.5)
    began = now()

    with pytest.raises(DeploymentBusy) as busy:
        await full.enter(Lane.CHAT, "b", by=began + 60)

    assert now() - began < 0.5
    assert busy.value.retry_after_s == 4


@virtual_time.passes_at_once
async def test_expected_wait_is_that_of_those_who_go_before() -> None:
    full = line(2)
    await after_requests_of(full, 1)
    await join(full, Lane.COMPLETION)
    await join(full, user="a")
    await join(full, user="b")
    await join(full, Lane.BATCH)

    waits = {
        "completion": full.expected_wait_s(Lane.COMPLETION, "c"),
        "own second": full.expected_wait_s(Lane.CHAT, "a"),
        "newcomer": full.expected_wait_s(Lane.CHAT, "c"),
    }

    assert waits == pytest.approx({"completion": 1.0, "own second": 2.0, "newcomer": 2.0}, abs=0.1)


@virtual_time.passes_at_once
async def test_full_line_refuses_who_has_as_many_waiting_as_anyone() -> None:
    full = line()
    await join(full)
    waiting = [await join(full, user=user) for user in "abcd"]

    refused = await join(full, user="e")

    assert isinstance(refused.exception(), DeploymentBusy)
    assert not any(task.done() for task in waiting)


@virtual_time.passes_at_once
async def test_full_line_drops_the_newest_of_who_has_most_for_another_user() -> None:
    full = line()
    await join(full)
    *stay, newest = [await join(full, user="a") for _ in range(4)]

    newcomer = await join(full, user="b")
    await asyncio.sleep(0)

    assert isinstance(newest.exception(), DeploymentBusy)
    assert not any(task.done() for task in (*stay, newcomer))
    assert full.waiting == 4


@virtual_time.passes_at_once
async def test_full_line_drops_nobody_of_a_lane_that_goes_first() -> None:
    full = line()
    await join(full)
    waiting = [await join(full, Lane.COMPLETION, "a") for _ in range(4)]

    refused = await join(full, Lane.BATCH, "b")
    await asyncio.sleep(0)

    assert isinstance(refused.exception(), DeploymentBusy)
    assert not any(task.done() for task in waiting)


# --- Who leaves ----------------------------------------------------------------------------------


@virtual_time.passes_at_once
async def test_who_leaves_the_line_is_forgotten() -> None:
    full = line()
    first = await join(full)
    leaver = await join(full, user="b")
    patient = await join(full, user="c")

    leaver.cancel()
    full.leave(await first)
    await patient

    assert (full.in_flight, full.waiting) == (1, 0)


@virtual_time.passes_at_once
async def test_slot_of_who_leaves_as_it_comes_goes_to_the_next() -> None:
    full = line()
    first = await join(full)
    leaver = await join(full, user="b")
    patient = await join(full, user="c")

    full.leave(await first)
    leaver.cancel()
    await patient

    assert leaver.cancelled()
    assert (full.in_flight, full.waiting) == (1, 0)


@virtual_time.passes_at_once
async def test_who_is_dropped_and_leaves_at_once_is_no_error() -> None:
    full = line()
    await join(full)
    tasks = [await join(full, user="a") for _ in range(4)]
    newcomer = asyncio.create_task(full.enter(Lane.CHAT, "b", by=now() + 60))

    tasks[3].cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert tasks[3].cancelled()
    assert not newcomer.done()
    assert full.waiting == 4


# --- Whatever happens, in whatever order ---------------------------------------------------------


@dataclass(eq=False)
class Request:
    """One who asked for a slot.

    Attributes:
        overtaken_by: Users of its lane admitted while it was its user's first in line.
    """

    task: asyncio.Task[Slot]
    lane: Lane
    user: str
    gives_up_at: float
    is_first_of_user: bool
    overtaken_by: list[str] = field(default_factory=list)


class LineMachine(RuleBasedStateMachine):
    """Requests that come, go, leave and time out; a limit that changes; time that passes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = ManualTimeLoop()
        self.line = Line("gpu1", LIMITS, self.loop.time)
        self.line.lend(2)
        self.waiting: list[Request] = []  # oldest first
        self.in_flight: list[Request] = []

    @rule(lane=LANES, user=USERS, patience_s=st.sampled_from([0.5, 1, 60]))
    def enter(self, lane: Lane, user: str, patience_s: float) -> None:
        by = self.loop.now + patience_s
        peers = [item for item in self.waiting if (item.lane, item.user) == (lane, user)]
        self.waiting.append(
            Request(
                task=self.loop.create_task(self.line.enter(lane, user, by=by)),
                lane=lane,
                user=user,
                gives_up_at=min(by, self.loop.now + LIMITS.queue_wait_s),
                is_first_of_user=not peers,
            )
        )
        self.settle()

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.give_back(data)
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.waiting)).task.cancel()
        self.settle()

    @precondition(lambda self: self.in_flight and self.waiting)
    @rule(data=st.data(), is_late=st.booleans())
    def cancel_as_a_slot_comes_free(self, data: st.DataObject, *, is_late: bool) -> None:
        leaver = data.draw(st.sampled_from(self.waiting))
        if is_late:
            self.give_back(data)
            leaver.task.cancel()
        else:
            leaver.task.cancel()
            self.give_back(data)
        self.settle()

    @precondition(lambda self: self.in_flight and self.waiting)
    @rule(data=st.data())
    def time_out_as_a_slot_comes_free(self, data: st.DataObject) -> None:
        self.loop.now = max(self.loop.now, min(item.gives_up_at for item in self.waiting))
        self.give_back(data)
        self.settle()

    # So few that none is kept for others; the tests of one user's part are below.
    @rule(limit=FEW_SLOTS, shrinks_to=st.none() | FEW_SLOTS)
    def change_limit(self, limit: int, shrinks_to: int | None) -> None:
        self.line.lend(limit, shrinks_to=shrinks_to)
        self.settle()

    @rule(passed_s=st.sampled_from([0.01, 0.3, 1, 2]))
    def pass_time(self, passed_s: float) -> None:
        self.loop.now += passed_s
        self.settle()

    def give_back(self, data: st.DataObject) -> None:
        over = data.draw(st.sampled_from(self.in_flight))
        self.in_flight.remove(over)
        self.line.leave(over.task.result())

    def settle(self) -> None:
        """Let everything happen that is due, and judge who was admitted."""
        self.loop.settle()
        ended = [item for item in self.waiting if item.task.done()]
        self.waiting = [item for item in self.waiting if not item.task.done()]
        admitted = []
        for item in ended:
            if item.task.cancelled():
                continue
            if (error := item.task.exception()) is not None:
                assert isinstance(error, DeploymentBusy)
                assert 1 <= error.retry_after_s <= 5
                continue
            admitted.append(item)
        self.in_flight += admitted
        if admitted:
            assert self.line.in_flight <= self.line.limit
        for item in admitted:
            self.judge(item)

    def judge(self, admitted: Request) -> None:
        assert len(admitted.overtaken_by) == len(set(admitted.overtaken_by))
        for left in self.waiting:
            assert left.lane >= admitted.lane
            if left.lane is admitted.lane:
                assert left.user != admitted.user or not left.is_first_of_user
                if left.is_first_of_user:
                    left.overtaken_by.append(admitted.user)
                    # Each of the others goes once at most: with one other, the second is ours.
                    assert left.overtaken_by.count(admitted.user) == 1

    @invariant()
    def no_slot_is_lost_or_doubled(self) -> None:
        assert self.line.in_flight == len(self.in_flight)
        assert self.line.waiting == len(self.waiting)
        assert self.line.is_idle is (not self.waiting and not self.in_flight)

    @invariant()
    def queue_is_bounded_and_no_slot_idles_while_someone_waits(self) -> None:
        assert len(self.waiting) <= LIMITS.queue_size
        assert not self.waiting or len(self.in_flight) >= self.line.limit

    @invariant()
    def nobody_waits_too_long(self) -> None:
        assert all(item.gives_up_at > self.loop.now for item in self.waiting)

    def teardown(self) -> None:
        try:
            self.loop.now += LIMITS.queue_wait_s
            self.settle()
            assert not self.waiting
            for item in self.in_flight:
                self.line.leave(item.task.result())
            assert self.line.is_idle
        finally:
            self.loop.close()


LineMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLineMachine = LineMachine.TestCase


# --- One user's part -----------------------------------------------------------------------------


@virtual_time.passes_at_once
async def test_last_of_many_slots_is_kept_for_somebody_else() -> None:
    scarce = line(4)

    mine = [await join(scarce, user="a") for _ in range(4)]
    other = await join(scarce, user="b")

    assert [task.done() for task in mine] == [True, True, True, False]
    assert other.done()
    mine[3].cancel()


@virtual_time.passes_at_once
async def test_of_few_slots_one_user_may_have_all() -> None:
    scarce = line(3)

    tasks = [await join(scarce, user="a") for _ in range(3)]

    assert all(task.done() for task in tasks)
