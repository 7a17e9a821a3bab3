"""Charts as shapes: pure functions from numbers to what `gateway/chart.html` draws as SVG.

Across, everything is a share of `WIDTH`, which the page stretches; down, it is pixels. So text
keeps its size on any screen, and no script is needed. Behind each chart is a table of its numbers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH = 1000.0
HEIGHT = 160.0
#: Labels on the time axis: more would run into each other at 400 px.
MAX_X_TICKS = 5
Y_INTERVALS = 4
#: Of a slot, the share its bar takes.
BAR_SHARE = 0.8
#: Colours there are; series beyond them are for the caller to put together.
MAX_SERIES = 6

#: Writes a number in as few characters as an axis has room for.
Unit = Callable[[float], str]


def as_count(value: float) -> str:
    """Return a number of things: 950, 1.2k, 3M."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def as_ms(value: float) -> str:
    """Return a time given in milliseconds: 350 ms, 1.2 s, 2 min."""
    if value < 1000:
        return f"{value:.3g} ms"
    return f"{value / 1000:.3g} s" if value < 120_000 else f"{value / 60_000:.3g} min"


def as_percent(value: float) -> str:
    """Return a share given as 0 to 1: 12.5 %."""
    return f"{value * 100:.3g} %"


@dataclass(frozen=True, slots=True)
class Slot:
    """One place on the horizontal axis.

    Attributes:
        label: Whole, for tables: `2026-11-22 14:00`.
        tick: Short, for the axis: `14:00`.
    """

    label: str
    tick: str


@dataclass(frozen=True, slots=True)
class Series:
    """One row of numbers, a value for each slot; None where there is nothing to tell.

    Attributes:
        tone: Of a colour that means something: good, warn, bad, none. Left out: the next colour.
    """

    name: str
    values: Sequence[float | None]
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at an axis.

    Attributes:
        at: Across: percent of the width; down: pixels from the top.
        anchor: Which end of the text is there; only across.
    """

    at: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Shape:
    """All bars, or the whole line, of one series: the `d` of an SVG path, the class of its colour.

    One path for many bars: a page of charts would else have thousands of elements.
    """

    path: str
    style: str


@dataclass(frozen=True, slots=True)
class Hover:
    """What a slot says under the pointer."""

    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What the template draws.

    Attributes:
        key: Unique on its page; ids are made of it.
        summary: One sentence for those who do not see the picture.
        legend: Name and class of each series.
        rows: Of the table: the slot's label, then a text for each series. Newest first.
    """

    key: str
    title: str
    summary: str
    legend: tuple[tuple[str, str], ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    bars: tuple[Shape, ...]
    lines: tuple[Shape, ...]
    hovers: tuple[Hover, ...]
    rows: tuple[tuple[str, ...], ...]
    width: float = WIDTH
    height: float = HEIGHT

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to see but the axes."""
        return not self.bars and not self.lines


def stacked_bars(
    key: str, title: str, slots: Sequence[Slot], series: Sequence[Series], unit: Unit = as_count
) -> Chart:
    """Return a bar for each slot, its parts from below in the order of `series`.

    Args:
        key: Unique on the page.
        title: What is counted.
        slots: From left to right.
        series: At most `MAX_SERIES`; values are 0 or more.
        unit: Writes the numbers.
    """
    totals = [sum(item.values[at] or 0 for item in series) for at in range(len(slots))]
    top = nice_top(max(totals, default=0))
    step = WIDTH / max(len(slots), 1)
    tops = [HEIGHT] * len(slots)
    bars = []
    for item, style in zip(series, _styles(series), strict=True):
        path = ""
        for at in range(len(slots)):
            if height := (item.values[at] or 0) / top * HEIGHT:
                tops[at] -= height
                left = (at + (1 - BAR_SHARE) / 2) * step
                path += _rectangle(left, tops[at], step * BAR_SHARE, height)
        if path:
            bars.append(Shape(path, style))
    return _chart(key, title, slots, series, unit, top, bars=tuple(bars))


def lines(
    key: str, title: str, slots: Sequence[Slot], series: Sequence[Series], unit: Unit = as_count
) -> Chart:
    """Return a line for each series, with a gap where there is no value; arguments as above."""
    known = [value for item in series for value in item.values if value is not None]
    top = nice_top(max(known, default=0))
    drawn = tuple(
        Shape(path, style)
        for item, style in zip(series, _styles(series), strict=True)
        if (path := _path(item.values, top))
    )
    return _chart(key, title, slots, series, unit, top, lines=drawn)


def nice_top(most: float) -> float:
    """Return where the axis ends: its ticks are 1, 2, 2.5 or 5 times a power of ten apart."""
    if most <= 0:
        return float(Y_INTERVALS)
    rough = most / Y_INTERVALS
    power = 10.0 ** math.floor(math.log10(rough))
    apart = next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return apart * power * Y_INTERVALS


def _styles(series: Sequence[Series]) -> list[str]:
    return [item.tone or f"s{number}" for number, item in enumerate(series)]


def _rectangle(x: float, y: float, width: float, height: float) -> str:
    return f"M{_r(x)} {_r(y)}h{_r(width)}v{_r(height)}h{-_r(width)}z"


def _path(values: Sequence[float | None], top: float) -> str:
    """Return the `d` of a path through the middles of the slots."""
    step = WIDTH / max(len(values), 1)
    parts, is_drawing = [], False
    for at, value in enumerate(values):
        if value is None:
            is_drawing = False
            continue
        x, y = _r((at + 0.5) * step), _r(HEIGHT - value / top * HEIGHT)
        # A line of no length has round ends: a value between two gaps is seen as a dot.
        parts.append(f"L{x} {y}" if is_drawing else f"M{x} {y}h0")
        is_drawing = True
    return "".join(parts)


def _chart(
    key: str,
    title: str,
    slots: Sequence[Slot],
    series: Sequence[Series],
    unit: Unit,
    top: float,
    *,
    bars: tuple[Shape, ...] = (),
    lines: tuple[Shape, ...] = (),
) -> Chart:
    rows = tuple(
        (slot.label, *(_text(item.values[at], unit) for item in series))
        for at, slot in enumerate(slots)
    )
    step = WIDTH / max(len(slots), 1)
    names = tuple(item.name for item in series)
    return Chart(
        key=key,
        title=title,
        summary=_summary(slots, series, unit),
        legend=tuple(zip(names, _styles(series), strict=True)),
        x_ticks=_x_ticks(slots),
        y_ticks=tuple(
            Tick(_r(HEIGHT * (1 - number / Y_INTERVALS)), unit(top * number / Y_INTERVALS))
            for number in range(Y_INTERVALS + 1)
        ),
        bars=bars,
        lines=lines,
        hovers=tuple(
            Hover(_r(at * step), _r(step), _hover(label, names, texts))
            for at, (label, *texts) in enumerate(rows)
        ),
        rows=rows[::-1],
    )


def _summary(slots: Sequence[Slot], series: Sequence[Series], unit: Unit) -> str:
    """Return the highest value of each series, and when it was."""
    told = []
    for item in series:
        known = [(value, at) for at, value in enumerate(item.values) if value is not None]
        most, at = max(known, default=(0, 0), key=lambda pair: pair[0])
        if most:
            told.append(f"{item.name} at most {unit(most)} ({slots[at].label})")
    if not told:
        return "Nothing to show for this time."
    return f"{slots[0].label} to {slots[-1].label}: {'; '.join(told)}."


def _x_ticks(slots: Sequence[Slot]) -> tuple[Tick, ...]:
    every = max(math.ceil(len(slots) / MAX_X_TICKS), 1)
    ticks = []
    for at in range(every // 2, len(slots), every):
        share = (at + 0.5) / len(slots)
        anchor = "start" if share < 0.08 else "end" if share > 0.92 else "middle"
        ticks.append(Tick(_r(share * 100), slots[at].tick, anchor))
    return tuple(ticks)


def _hover(label: str, names: Sequence[str], texts: Sequence[str]) -> str:
    return "\n".join([label, *(f"{name}: {text}" for name, text in zip(names, texts, strict=True))])


def _text(value: float | None, unit: Unit) -> str:
    return "–" if value is None else unit(value)


def _r(number: float) -> float:
    """Round to what a screen can show; pages stay small."""
    return round(number, 2)


# --- States over time -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """Something came into a state, which holds until the next change.

    Attributes:
        tone: Of its colour: good, warn, bad, none.
    """

    at: datetime
    tone: str


def strip(
    changes: Sequence[Change], since: datetime, until: datetime, *, height: float
) -> tuple[Shape, ...]:
    """Return what a state was between two times, as a shape for each tone.

    Args:
        changes: In any order; what is before the first is left blank.
        since: Left end.
        until: Right end; after `since`.
        height: Of the strip.
    """
    ordered: list[Change] = []
    for change in sorted(changes, key=lambda change: change.at):
        if not ordered or change.tone != ordered[-1].tone:  # else it looks as before
            ordered.append(change)
    ends = [*(change.at for change in ordered[1:]), until]
    span_s = (until - since).total_seconds()
    paths: dict[str, str] = {}
    for change, change_end in zip(ordered, ends, strict=False):  # without changes, one end is left
        begin, end = max(change.at, since), min(change_end, until)
        if end > begin:
            x = (begin - since).total_seconds() / span_s * WIDTH
            width = (end - begin).total_seconds() / span_s * WIDTH
            path = _rectangle(x, 0, width, height)
            paths[change.tone] = paths.get(change.tone, "") + path
    return tuple(Shape(path, tone) for tone, path in paths.items())
