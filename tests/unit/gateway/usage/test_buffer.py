"""The buffer of ended requests is bounded, and counts what it has no room for."""

from gateway.usage.buffer import Taken, UsageBuffer
from tests.unit.gateway.usage.ended import ended

ONE, TWO, THREE, FOUR = (ended(float(second)) for second in range(4))


def test_everything_is_taken_out_once() -> None:
    buffer = UsageBuffer()
    buffer.add(ONE)
    buffer.add(TWO)

    assert buffer.take() == Taken([ONE, TWO], 0)
    assert buffer.take() == Taken([], 0)


def test_what_does_not_fit_is_counted() -> None:
    buffer = UsageBuffer(capacity=2)
    for exchange in (ONE, TWO, THREE, FOUR):
        buffer.add(exchange)

    assert buffer.take() == Taken([ONE, TWO], 2)
    assert buffer.take() == Taken([], 0)


def test_what_is_put_back_comes_first_and_the_oldest_is_lost_for_want_of_room() -> None:
    buffer = UsageBuffer(capacity=3)
    taken = Taken([ONE, TWO, THREE], 5)
    buffer.add(FOUR)

    buffer.put_back(taken)

    assert buffer.take() == Taken([TWO, THREE, FOUR], 6)


def test_nothing_is_put_back_where_no_room_is_left() -> None:
    buffer = UsageBuffer(capacity=1)
    buffer.add(TWO)

    buffer.put_back(Taken([ONE], 0))

    assert buffer.take() == Taken([TWO], 1)


def test_what_can_never_be_written_is_counted() -> None:
    buffer = UsageBuffer()

    buffer.discard(Taken([ONE, TWO], 3))

    assert buffer.take() == Taken([], 5)
