"""Usage as people see it: key figures, and charts over time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import add

from gateway.pages.charts import (
    MAX_SERIES,
    Chart,
    Series,
    Slot,
    as_count,
    as_ms,
    as_percent,
    lines,
    stacked_bars,
)
from gateway.usage.series import (
    PLAIN_COUNTS,
    By,
    Figures,
    Period,
    Window,
    points,
    points_by,
    totals_by,
)

MEDIAN, MOST = 0.5, 0.95
#: An error rate that somebody should look at.
BAD_ERROR_RATE = 0.05
NONE_ASKED = {By.FEATURE: "no feature", By.DEPLOYMENT: "none asked"}
_OTHERS = "all others"


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One number, with what it is.

    Attributes:
        tone: Good, warn, bad, or none.
        note: What else there is to say; may be empty.
    """

    label: str
    text: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A feature or deployment, and what its requests came to."""

    name: str
    title: str
    figures: tuple[KeyFigure, ...]


@dataclass(frozen=True, slots=True)
class UsageView:
    """What the page shows of a window.

    Attributes:
        unrecorded: Requests that nothing here tells of.
        groups: By what, then the busiest first.
    """

    requests: int
    unrecorded: int
    key_figures: tuple[KeyFigure, ...]
    charts: tuple[Chart, ...]
    groups: Mapping[By, tuple[Group, ...]]


def key_figures(figures: Figures) -> tuple[KeyFigure, ...]:
    """Return the numbers that say at a glance how things go."""
    rate = figures.error_rate
    is_bad = rate is not None and rate >= BAD_ERROR_RATE
    left = f"{as_count(figures.cancelled)} cancelled" if figures.cancelled else ""
    return (
        KeyFigure("Requests", as_count(figures.requests), left),
        KeyFigure(
            "Errors",
            as_count(figures.failed),
            "" if rate is None else as_percent(rate),
            "bad" if is_bad else "warn" if figures.failed else "",
        ),
        KeyFigure("First text", *_times(figures.first_token_ms)),
        KeyFigure("Whole answer", *_times(figures.total_ms)),
        KeyFigure(
            "Tokens out",
            as_count(figures.output_tokens),
            f"{as_count(figures.input_tokens)} in" if figures.input_tokens else "",
        ),
    )


def _times(quantile_ms: Callable[[float], float | None]) -> tuple[str, str]:
    """Return the median, and the time that few exceed."""
    median, most = quantile_ms(MEDIAN), quantile_ms(MOST)
    if median is None or most is None:
        return "–", ""
    return as_ms(median), f"95 % within {as_ms(most)}"


def usage_view(window: Window, titles: Mapping[str, str]) -> UsageView:
    """Return what the page shows; four queries, however much happened.

    Args:
        window: The time, and what of it.
        titles: What people call features.
    """
    of_all = points(window)
    totals = totals_by(window)
    slots = [_slot(window, start) for start in window.starts]
    charts = [*_charts_of_all(slots, of_all)]
    for by in By:
        names = [name for name, figures in totals[by].items() if figures.requests]
        charts += _charts_by(window, by, slots, of_all, names, titles)
    together = reduce(add, of_all, Figures())
    return UsageView(
        requests=together.requests,
        unrecorded=together.unrecorded,
        key_figures=key_figures(together),
        charts=tuple(charts),
        groups={
            by: tuple(
                Group(name, _title(by, name, titles), key_figures(figures))
                for name, figures in totals[by].items()
                if figures.requests
            )
            for by in By
        },
    )


def _slot(window: Window, start: datetime) -> Slot:
    day, time = f"{start:%d %b}", f"{start:%H:%M}"
    if window.period in (Period.HOUR, Period.SIX_HOURS):
        is_one_day = window.until - window.since <= timedelta(days=1)
        from_then = " on" if window.period is Period.SIX_HOURS else ""
        return Slot(f"{start:%Y-%m-%d %H:%M}{from_then}", time if is_one_day else day)
    week = "week of " if window.period is Period.WEEK else ""
    return Slot(f"{week}{start:%Y-%m-%d}", day)


def _charts_of_all(slots: Sequence[Slot], figures: Sequence[Figures]) -> Sequence[Chart]:
    endings = [
        Series("answered", [each.answered for each in figures]),
        Series("failed", [each.failed for each in figures], "bad"),
        Series("refused", [each.refused for each in figures], "warn"),
        Series("cancelled", [each.cancelled for each in figures], "none"),
    ]
    first = [_times_over(figures, Figures.first_token_ms, share) for share in (MEDIAN, MOST)]
    whole = [_times_over(figures, Figures.total_ms, share) for share in (MEDIAN, MOST)]
    rates = [Series("error rate", [each.error_rate for each in figures], "bad")]
    return (
        stacked_bars("requests", "Requests", slots, endings),
        lines("errors", "Error rate", slots, rates, as_percent),
        lines("first-text", "Time to the first text", slots, first, as_ms),
        lines("whole-answer", "Time to the end of the answer", slots, whole, as_ms),
    )


def _times_over(
    figures: Sequence[Figures],
    quantile_ms: Callable[[Figures, float], float | None],
    share: float,
) -> Series:
    name = "median" if share == MEDIAN else "95 % within"
    return Series(name, [quantile_ms(each, share) for each in figures])


def _charts_by(
    window: Window,
    by: By,
    slots: Sequence[Slot],
    of_all: Sequence[Figures],
    names: Sequence[str],
    titles: Mapping[str, str],
) -> Sequence[Chart]:
    """Return requests and tokens by feature or deployment: the busiest, and all others as one."""
    shown = names[: MAX_SERIES - 1]
    found = points_by(window, by, shown, PLAIN_COUNTS)

    def series(count: Callable[[Figures], int]) -> list[Series]:
        told = [
            Series(_title(by, name, titles), [count(each) for each in of_name])
            for name, of_name in found.items()
        ]
        if len(names) > len(shown):
            sums = [sum(values) for values in zip(*(item.values for item in told), strict=True)]
            rest = [count(each) - part for each, part in zip(of_all, sums, strict=True)]
            told.append(Series(_OTHERS, rest, "none"))
        return told

    return (
        stacked_bars(
            f"requests-{by}", f"Requests by {by}", slots, series(lambda each: each.requests)
        ),
        stacked_bars(
            f"tokens-{by}",
            f"Tokens by {by}, in and out",
            slots,
            series(lambda each: each.input_tokens + each.output_tokens),
        ),
    )


def _title(by: By, name: str, titles: Mapping[str, str]) -> str:
    return titles.get(name, name) or NONE_ASKED[by]
