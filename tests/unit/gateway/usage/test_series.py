"""What requests came to by hour, day and week, for all or for some."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.errors import Hop
from gateway.usage.buffer import Taken
from gateway.usage.series import (
    By,
    Figures,
    Period,
    Window,
    last_hour,
    points,
    points_by,
    start_of,
    totals_by,
)
from gateway.usage.store import write_down
from tests.unit.gateway.usage.ended import ended

pytestmark = pytest.mark.django_db

#: A Sunday.
NOW = datetime(2026, 11, 22, 12, 34, 56, tzinfo=UTC)
FAILED: dict[str, Any] = {"outcome": "upstream_timeout", "hop": Hop.MODEL_SERVER}


def happened(*ago: timedelta, **of: Any) -> None:
    """Have a request end so long before now each."""
    exchanges = [ended(-age.total_seconds(), **of) for age in ago]
    write_down(Taken(exchanges, 0), clock_offset_s=NOW.timestamp())


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def test_every_hour_has_a_point_even_if_nothing_happened() -> None:
    happened(hours(0), hours(0), hours(2))

    found = points(Window.last(Period.HOUR, 4, NOW))

    assert [point.requests for point in found] == [0, 1, 0, 2]


def test_six_hours_hold_the_requests_of_their_hours() -> None:
    happened(hours(0), hours(0.5), hours(1), hours(7), hours(13))
    window = Window.last(Period.SIX_HOURS, 3, NOW)

    (of_chat,) = points_by(window, By.FEATURE, ["duo_chat"]).values()

    assert window.starts[-1] == datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert [point.requests for point in points(window)] == [1, 1, 2]
    assert [point.requests for point in of_chat] == [1, 1, 2]


def test_days_and_weeks_are_those_of_utc_and_begin_on_mondays() -> None:
    happened(hours(0), hours(12), hours(13), hours(24 * 6), hours(24 * 7))

    days = points(Window.last(Period.DAY, 3, NOW))
    weeks = points(Window.last(Period.WEEK, 3, NOW))

    assert [point.requests for point in days] == [0, 1, 2]
    assert [point.requests for point in weeks] == [0, 1, 4]


@pytest.mark.parametrize(
    ("period", "start"),
    [
        (Period.HOUR, datetime(2026, 11, 22, 12, tzinfo=UTC)),
        (Period.SIX_HOURS, datetime(2026, 11, 22, 12, tzinfo=UTC)),
        (Period.DAY, datetime(2026, 11, 22, tzinfo=UTC)),
        (Period.WEEK, datetime(2026, 11, 16, tzinfo=UTC)),
    ],
)
def test_window_holds_whole_points(period: Period, start: datetime) -> None:
    window = Window.around(period, NOW, NOW)

    assert start_of(period, NOW) == start
    assert window.starts == [start]
    assert Window.around(period, window.since, window.until) == window


def test_series_of_names_are_told_apart() -> None:
    happened(hours(0), hours(1), deployment="gpu1")
    happened(hours(0), deployment="gpu2")
    happened(hours(0), deployment="gpu3")

    found = points_by(Window.last(Period.HOUR, 2, NOW), By.DEPLOYMENT, ["gpu1", "gpu2", "gone"])

    counts = {name: [point.requests for point in of_name] for name, of_name in found.items()}
    assert counts == {"gpu1": [1, 1], "gpu2": [0, 1], "gone": [0, 0]}


def test_totals_come_with_the_busiest_first() -> None:
    happened(hours(0), feature="duo_chat")
    happened(hours(0), hours(1), feature="code_completions", deployment="gpu2")

    found = totals_by(Window.last(Period.HOUR, 2, NOW))[By.FEATURE]

    assert [(name, total.requests) for name, total in found.items()] == [
        ("code_completions", 2),
        ("duo_chat", 1),
    ]


@pytest.mark.parametrize(
    ("only", "requests"),
    [({}, 3), ({"feature": "duo_chat"}, 2), ({"deployment": "gpu2"}, 1), ({"feature": ""}, 1)],
)
def test_window_looks_at_what_it_is_told_to(only: dict[str, str], requests: int) -> None:
    happened(hours(0), deployment="gpu1")
    happened(hours(0), deployment="gpu2")
    happened(hours(0), feature="", deployment="")

    (point,) = points(Window.last(Period.DAY, 1, NOW, **only))

    assert point.requests == requests


def test_errors_are_a_share_of_what_was_to_be_answered() -> None:
    happened(*[hours(0)] * 3)
    happened(hours(0), **FAILED)
    happened(hours(0), outcome="client_left")
    happened(hours(0), outcome="feature_inactive", hop=Hop.CALLER)

    (point,) = points(Window.last(Period.DAY, 1, NOW))

    assert (point.requests, point.error_rate) == (6, 0.25)
    assert Figures().error_rate is None


def test_quantiles_hold_for_any_period() -> None:
    happened(*[hours(0)] * 19, total_s=0.9, first_s=0.25)
    happened(hours(30), total_s=20, first_s=9)

    first, second = points(Window.last(Period.DAY, 2, NOW))
    (week,) = points(Window.last(Period.WEEK, 1, NOW))

    assert first.first_token_ms(0.5) == pytest.approx(8000)
    assert second.first_token_ms(0.5) == pytest.approx(250)
    assert week.first_token_ms(0.5) == pytest.approx(200 + 100 * 10 / 19)
    assert week.total_ms(0.99) == pytest.approx(15_000 + 15_000 * 0.8)


def test_last_hour_is_the_last_sixty_minutes_to_five() -> None:
    happened(hours(0), hours(0.9), hours(1.1), hours(5))

    assert last_hour(NOW).requests == 2
    assert last_hour(NOW + hours(3)) == Figures()
