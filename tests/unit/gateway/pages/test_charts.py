"""Charts: shapes that say what the numbers say, and a table behind them."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.template.loader import render_to_string
from hypothesis import given
from hypothesis import strategies as st

from gateway.pages.charts import (
    MAX_X_TICKS,
    Change,
    Series,
    Slot,
    as_count,
    as_ms,
    as_percent,
    lines,
    nice_top,
    stacked_bars,
    strip,
)

SLOTS = [Slot(f"2026-11-22 {hour:02}:00", f"{hour:02}:00") for hour in range(4)]


def test_bars_are_stacked_to_their_share_of_the_axis() -> None:
    chart = stacked_bars(
        "requests",
        "Requests",
        SLOTS,
        [Series("ok", [8, 4, 0, 0]), Series("failed", [0, 2, 0, 8], "bad")],
    )

    assert [(shape.style, shape.path) for shape in chart.bars] == [
        ("s0", "M25.0 0.0h200.0v160.0h-200.0zM275.0 80.0h200.0v80.0h-200.0z"),
        ("bad", "M275.0 40.0h200.0v40.0h-200.0zM775.0 0.0h200.0v160.0h-200.0z"),
    ]
    assert [tick.text for tick in chart.y_ticks] == ["0", "2", "4", "6", "8"]


def test_lines_have_gaps_and_lone_values_are_seen() -> None:
    chart = lines("latency", "Latency", SLOTS, [Series("p50", [400, None, 100, 200])], as_ms)

    (line,) = chart.lines
    assert line.path == "M125.0 0.0h0M625.0 120.0h0L875.0 80.0"
    assert [tick.text for tick in chart.y_ticks] == ["0 ms", "100 ms", "200 ms", "300 ms", "400 ms"]


def test_table_and_summary_say_what_the_picture_shows() -> None:
    chart = lines("latency", "Latency", SLOTS, [Series("p50", [None, 1500, 100, 200])], as_ms)

    assert chart.rows[0] == ("2026-11-22 03:00", "200 ms")
    assert chart.rows[-1] == ("2026-11-22 00:00", "–")
    assert chart.summary == (
        "2026-11-22 00:00 to 2026-11-22 03:00: p50 at most 1.5 s (2026-11-22 01:00)."
    )
    assert chart.hovers[1].text == "2026-11-22 01:00\np50: 1.5 s"


@pytest.mark.parametrize("values", [[], [None, None], [0, 0]])
def test_nothing_is_told_as_such(values: list[float | None]) -> None:
    slots = SLOTS[: len(values)]

    chart = stacked_bars("requests", "Requests", slots, [Series("ok", values)])

    assert chart.is_empty
    assert chart.summary == "Nothing to show for this time."


@pytest.mark.parametrize("count", [1, 4, 5, 24, 168, 366])
def test_time_axis_has_a_few_labels_evenly_apart(count: int) -> None:
    slots = [Slot(str(number), str(number)) for number in range(count)]

    ticks = stacked_bars("a", "A", slots, [Series("ok", [1] * count)]).x_ticks

    assert 1 <= len(ticks) <= MAX_X_TICKS
    assert len({round(later.at - tick.at) for tick, later in pairwise(ticks)}) <= 1
    assert all(0 < tick.at < 100 for tick in ticks)


@given(st.floats(min_value=1e-6, max_value=1e12))
def test_axis_ends_little_above_the_most(most: float) -> None:
    assert most * (1 - 1e-6) <= nice_top(most) <= most * 2.6


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (as_count(0), "0"),
        (as_count(950), "950"),
        (as_count(1240), "1.24k"),
        (as_count(3_000_000), "3M"),
        (as_count(12.5), "12.5"),
        (as_ms(0.4), "0.4 ms"),
        (as_ms(350), "350 ms"),
        (as_ms(1200), "1.2 s"),
        (as_ms(120_000), "2 min"),
        (as_percent(0.125), "12.5 %"),
    ],
)
def test_numbers_are_told_in_few_characters(text: str, told: str) -> None:
    assert text == told


def test_page_has_picture_and_table_without_script_or_inline_style() -> None:
    chart = stacked_bars("requests", "Requests <b>", SLOTS, [Series("a", [1, 2, 3, 4])])

    html = render_to_string("gateway/chart.html", {"chart": chart})

    assert html.count('class="hover"') == len(SLOTS)
    assert '<th scope="row">2026-11-22 03:00</th><td class="number">4</td>' in html
    assert "Requests &lt;b&gt;" in html
    assert not re.search(r"<script|style=|<b>", html)


# --- States over time -----------------------------------------------------------------------------

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_strip_shows_each_state_from_its_change_to_the_next() -> None:
    changes = [
        Change(NOON + timedelta(hours=6), "good"),
        Change(NOON - timedelta(days=1), "good"),
        Change(NOON + timedelta(hours=3), "bad"),
    ]

    found = strip(changes, NOON, NOON + timedelta(hours=12), height=10)

    assert {shape.style: shape.path for shape in found} == {
        "good": "M0.0 0h250.0v10h-250.0zM500.0 0h500.0v10h-500.0z",
        "bad": "M250.0 0h250.0v10h-250.0z",
    }


def test_strip_is_blank_before_anything_was_known() -> None:
    change = Change(NOON + timedelta(hours=9), "bad")

    (shape,) = strip([change], NOON, NOON + timedelta(hours=12), height=10)

    assert shape.path == "M750.0 0h250.0v10h-250.0z"


def test_strip_leaves_out_what_was_over_before() -> None:
    changes = [Change(NOON - timedelta(hours=2), "bad"), Change(NOON, "good")]

    (shape,) = strip(changes, NOON, NOON + timedelta(hours=1), height=10)

    assert shape.style == "good"
