"""How many refused tokens an address is allowed, and what the count of them may cost."""

import pytest

from gateway.authentication.refusal_limit import ADDRESSES, REFUSALS_PER_S, RefusalLimit
from tests.unit.gateway.parts import Clock


def counted(limit: RefusalLimit, times: int, address: str = "10.0.0.7") -> RefusalLimit:
    for _ in range(times):
        limit.count(address)
    return limit


@pytest.mark.parametrize("start", [0.0, 1000.0, 123456789.987])
def test_twenty_at_once_reach_it(start: float) -> None:
    limit = counted(RefusalLimit(Clock(start)), REFUSALS_PER_S - 1)
    assert not limit.is_reached("10.0.0.7")

    counted(limit, 1)

    assert limit.is_reached("10.0.0.7")


def test_twenty_a_second_may_follow() -> None:
    clock = Clock()
    limit = counted(RefusalLimit(clock), REFUSALS_PER_S)
    let_in = 0

    for _ in range(1000):  # ten seconds of a hundred a second
        clock.now += 0.01
        if not limit.is_reached("10.0.0.7"):
            limit.count("10.0.0.7")
            let_in += 1

    assert let_in == pytest.approx(10 * REFUSALS_PER_S, abs=1)


def test_addresses_are_counted_apart() -> None:
    limit = counted(RefusalLimit(Clock()), REFUSALS_PER_S)

    assert not limit.is_reached("10.0.0.8")


def test_no_flood_of_addresses_takes_more_memory() -> None:
    limit = RefusalLimit(Clock())

    for number in range(ADDRESSES + 100):
        limit.count(str(number))

    assert len(limit._clear_at) == ADDRESSES


def test_who_goes_on_is_not_forgotten_for_others() -> None:
    limit = counted(RefusalLimit(Clock()), REFUSALS_PER_S - 1)

    for number in range(ADDRESSES - 1):
        limit.count(str(number))
    counted(limit, 1)
    limit.count("another")

    assert limit.is_reached("10.0.0.7")
