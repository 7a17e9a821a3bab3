"""The line before a deployment: who is in flight, who waits, and who is next.

Scarce GPUs are shared fairly: short completions go before chat, chat before batch work; within a
lane users take turns, however many requests each has waiting. Whoever cannot be served in time is
told at once, not after the wait.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from gateway.routing.errors import DeploymentBusy
from gateway.routing.limits import Limits
from selfhosted_models.serving import CHAT_CLOCKS, COMPLETION_CLOCKS, Clocks

#: With so many slots one is kept for others than the user who has all the rest: streams may last.
SHARED_FROM = 4
#: Weight of the newest request in the moving average of how long one takes.
_NEWEST = 0.2


class Lane(IntEnum):
    """Kinds of requests; a lower number goes first."""

    COMPLETION = 0
    CHECK = 1  # an admin tests a connection, and waits
    CHAT = 2
    BATCH = 3

    @property
    def clocks(self) -> Clocks:
        return _CLOCKS.get(self, CHAT_CLOCKS)


_CLOCKS = {
    Lane.COMPLETION: COMPLETION_CLOCKS,
    # Older GitLab releases give the connection check 3 seconds in all.
    Lane.CHECK: Clocks(connect_s=2, first_token_s=3, idle_s=3, total_s=3),
}


@dataclass(eq=False, slots=True)
class _Waiter:
    user: str
    admitted: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class Slot:
    """One of the requests a deployment takes at once, and who has it since when."""

    user: str
    since: float


class Line:
    """Admits requests of this worker to one deployment, at most `limit` at once.

    Args:
        deployment: Its name, for messages.
        limits: Of the queue.
        now: A monotonic clock, in seconds: the event loop's.
        on_wait: Called when a request has to wait: more slots would help.

    Attributes:
        cap: Most requests in flight from all workers together.
        limit: This worker's part of it, as it is now.
        shrinks_to: What the limit falls to as requests end.
        in_flight: Requests admitted and not over.
    """

    def __init__(
        self,
        deployment: str,
        limits: Limits,
        now: Callable[[], float],
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._deployment = deployment
        self._limits = limits
        self._now = now
        self._on_wait = on_wait
        self.shrinks_to = 0
        self._lanes: tuple[OrderedDict[str, deque[_Waiter]], ...] = tuple(
            OrderedDict() for _ in Lane
        )
        self._held: dict[str, int] = {}  # slots by user
        self._typical_s = 0.0
        self.cap = 0
        self.limit = 0
        self.in_flight = 0

    def lend(self, limit: int, *, shrinks_to: int | None = None) -> None:
        """Set the limit, at once.

        Args:
            limit: Requests that may be in flight from now on.
            shrinks_to: As requests end, the limit falls to this: others wait for the slots.
        """
        self.limit = limit
        self.shrinks_to = limit if shrinks_to is None else shrinks_to
        self._admit()

    @property
    def is_idle(self) -> bool:
        return not self.in_flight and not self.waiting

    @property
    def waiting(self) -> int:
        return sum(map(self.waiting_in, Lane))

    def waiting_in(self, lane: Lane) -> int:
        return sum(len(waiters) for waiters in self._lanes[lane].values())

    async def enter(self, lane: Lane, user: str, *, by: float) -> Slot:
        """Wait for a slot; whoever gets one gives it back by `leave`.

        Args:
            lane: The kind of request.
            user: Whose request it is; users of a lane take turns.
            by: Time, on the line's clock, after which an answer is of no use.

        Raises:
            DeploymentBusy: No slot came free in time, or none would.
        """
        if self._has_slot_for(user):  # whoever waits and may have it has it already
            self._take_slot(user)
            return Slot(user, self._now())
        by = min(by, self._now() + self._limits.queue_wait_s)
        wait_s = self.expected_wait_s(lane, user)
        if self._now() + wait_s > by:
            raise DeploymentBusy(self._deployment, wait_s, "a slot would come too late")
        if self.waiting >= self._limits.queue_size:
            self._make_room(lane, user, wait_s)
        return await self._wait(lane, user, by)

    def leave(self, slot: Slot, *, was_answered: bool = True) -> None:
        """Take a slot back.

        Args:
            slot: What `enter` returned.
            was_answered: If not, it says nothing about how long a request takes.
        """
        if was_answered:
            took_s = self._now() - slot.since
            share = _NEWEST if self._typical_s else 1.0
            self._typical_s += share * (took_s - self._typical_s)
        self._give_slot_back(slot.user)
        if self.limit > self.shrinks_to:
            self.limit -= 1
        self._admit()

    def expected_wait_s(self, lane: Lane, user: str) -> float:
        """Return how long a request that joined now would wait, as far as the past tells."""
        mine = len(self._lanes[lane].get(user, ()))
        turns = sum(min(len(theirs), mine + 1) for theirs in self._lanes[lane].values())
        before = sum(map(self.waiting_in, list(Lane)[:lane])) + turns
        return self._typical_s * (before + 1) / self.limit if self.limit else 0.0

    async def _wait(self, lane: Lane, user: str, by: float) -> Slot:
        waiter = _Waiter(user, asyncio.get_running_loop().create_future())
        self._lanes[lane].setdefault(user, deque()).append(waiter)
        self._on_wait()
        try:
            async with asyncio.timeout_at(by):
                await waiter.admitted
        except TimeoutError as exc:
            self._give_up(lane, waiter)
            limit = "no slot came free in time"
            raise DeploymentBusy(self._deployment, self._typical_s, limit) from exc
        except BaseException:
            self._give_up(lane, waiter)
            raise
        return Slot(user, self._now())

    def _give_up(self, lane: Lane, waiter: _Waiter) -> None:
        """Leave the line; a slot that came at the same moment goes to the next."""
        if self._remove(lane, waiter):
            return
        admitted = waiter.admitted
        if admitted.done() and not admitted.cancelled() and admitted.exception() is None:
            self._give_slot_back(waiter.user)
            self._admit()

    def _remove(self, lane: Lane, waiter: _Waiter) -> bool:
        waiters = self._lanes[lane].get(waiter.user)
        if waiters is None or waiter not in waiters:
            return False
        waiters.remove(waiter)
        if not waiters:
            del self._lanes[lane][waiter.user]
        return True

    def _admit(self) -> None:
        """Hand free slots out: by lane, users in turn, each user's oldest request first."""
        for lane in self._lanes:
            while (user := self._next_user(lane)) is not None:
                waiters = lane[user]
                waiter = waiters.popleft()
                if waiters:
                    lane.move_to_end(user)
                else:
                    del lane[user]
                if waiter.admitted.done():  # its client left, it has not noticed yet
                    continue
                self._take_slot(user)
                waiter.admitted.set_result(None)

    def _next_user(self, lane: OrderedDict[str, deque[_Waiter]]) -> str | None:
        return next((user for user in lane if self._has_slot_for(user)), None)

    def _has_slot_for(self, user: str) -> bool:
        """Whether a slot is free, and not the last one where `user` has all the others."""
        if self.in_flight >= self.limit:
            return False
        is_shared_out = bool(user) and self.limit >= SHARED_FROM
        return not is_shared_out or self._held.get(user, 0) < self.limit - 1

    def _take_slot(self, user: str) -> None:
        self.in_flight += 1
        self._held[user] = self._held.get(user, 0) + 1

    def _give_slot_back(self, user: str) -> None:
        self.in_flight -= 1
        self._held[user] -= 1
        if not self._held[user]:
            del self._held[user]

    def _make_room(self, lane: Lane, newcomer: str, wait_s: float) -> None:
        """In a full line, somebody's newest request gives way, or the newcomer is refused.

        A lane that goes later gives way first; in the newcomer's own, whoever has most waiting.
        """
        busy = DeploymentBusy(self._deployment, wait_s, "its line is full")
        later = [theirs for theirs in reversed(Lane) if theirs > lane and self._lanes[theirs]]
        giving = later[0] if later else lane
        users = self._lanes[giving]
        user = max(users, key=lambda name: len(users[name]), default=newcomer)
        if not later and len(users.get(user, ())) <= len(users.get(newcomer, ())) + 1:
            raise busy
        last = users[user][-1]
        self._remove(giving, last)
        if not last.admitted.done():  # its client left, it has not noticed yet
            last.admitted.set_exception(busy)
