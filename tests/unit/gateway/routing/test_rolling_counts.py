"""Counts of the last seconds: what is in the window, and what has left it."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.rolling_counts import RollingCounts
from tests.unit.gateway.parts import Clock


def test_both_counts_are_kept() -> None:
    counts = RollingCounts(10, Clock())

    counts.add(1, 0)
    counts.add(2, 1)

    assert counts.totals() == (3, 1)


def test_counts_leave_with_their_second() -> None:
    clock = Clock(100.9)
    counts = RollingCounts(10, clock)
    counts.add(1, 1)

    clock.now = 109.9
    in_time = counts.totals()
    clock.now = 110.0
    late = counts.totals()

    assert (in_time, late) == ((1, 1), (0, 0))


def test_cleared_counts_begin_anew() -> None:
    clock = Clock()
    counts = RollingCounts(10, clock)
    counts.add(5, 5)

    counts.clear()
    counts.add(1, 0)
    clock.now += 60

    assert counts.totals() == (0, 0)


@given(steps=st.lists(st.tuples(st.floats(0, 20), st.integers(0, 3), st.integers(0, 3))))
def test_totals_are_those_of_the_seconds_in_the_window(
    steps: list[tuple[float, int, int]],
) -> None:
    clock = Clock()
    counts, added = RollingCounts(10, clock), []

    for passed_s, first, second in steps:
        clock.now += passed_s
        counts.add(first, second)
        added.append((int(clock.now), first, second))

        recent = [item for item in added if item[0] > int(clock.now) - 10]
        assert counts.totals() == (
            sum(first for _, first, _ in recent),
            sum(second for _, _, second in recent),
        )
