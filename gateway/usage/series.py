"""What requests came to over time, read from the slices: for the pages and the REST API.

Each function takes one query, however many requests there were.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from operator import add
from typing import Any, cast

from django.db.models import QuerySet, Sum

from gateway.models import SliceLength, UsageSlice
from gateway.usage.latency import BUCKETS, quantile_ms


class Period(StrEnum):
    """What one point in time stands for; all begin and end in UTC, weeks on Mondays."""

    HOUR = "hour"
    SIX_HOURS = "six_hours"
    DAY = "day"
    WEEK = "week"


class By(StrEnum):
    """What series are told apart by."""

    FEATURE = "feature"
    DEPLOYMENT = "deployment"


#: Points of one series at most.
MAX_POINTS = 750
#: Of the slices that points are added up from.
_LENGTH = {
    Period.HOUR: SliceLength.HOUR,
    Period.SIX_HOURS: SliceLength.HOUR,
    Period.DAY: SliceLength.DAY,
    Period.WEEK: SliceLength.WEEK,
}
_STEP = {
    Period.HOUR: timedelta(hours=1),
    Period.SIX_HOURS: timedelta(hours=6),
    Period.DAY: timedelta(days=1),
    Period.WEEK: timedelta(weeks=1),
}
#: All that is cheap to add up: no times.
PLAIN_COUNTS = UsageSlice.COUNTS[: -2 * BUCKETS]


@dataclass(frozen=True, slots=True)
class Figures:
    """What requests came to in some time.

    Attributes:
        answered: Requests that were.
        refused: For what the caller did.
        failed: For what the gateway or a model server did.
        cancelled: Their client left.
        unrecorded: Of which nothing else is known.
        first_token_counts: Times to the first text, by bucket.
        total_counts: Times to the last byte of answers, by bucket.
    """

    answered: int = 0
    refused: int = 0
    failed: int = 0
    cancelled: int = 0
    unrecorded: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    first_token_counts: tuple[int, ...] = (0,) * BUCKETS
    total_counts: tuple[int, ...] = (0,) * BUCKETS

    @classmethod
    def of(cls, sums: Sequence[int]) -> "Figures":
        """Return the figures out of sums in the order of `UsageSlice.COUNTS`, times if any."""
        plain: dict[str, Any] = dict(zip(PLAIN_COUNTS, sums, strict=False))
        if len(sums) == len(PLAIN_COUNTS):
            return cls(**plain)
        first, total = tuple(sums[-2 * BUCKETS : -BUCKETS]), tuple(sums[-BUCKETS:])
        return cls(**plain, first_token_counts=first, total_counts=total)

    def __add__(self, other: "Figures") -> "Figures":
        return Figures.of([*map(add, self._flat(), other._flat())])

    def _flat(self) -> tuple[int, ...]:
        *plain, first, total = (getattr(self, item.name) for item in fields(self))
        return (*plain, *first, *total)

    @property
    def requests(self) -> int:
        return self.answered + self.refused + self.failed + self.cancelled

    @property
    def error_rate(self) -> float | None:
        """Share that failed of those that were to be answered: who left or was refused is not."""
        tried = self.answered + self.failed
        return self.failed / tried if tried else None

    def first_token_ms(self, share: float) -> float | None:
        """Return the wait for the first text that `share` of the requests do not exceed."""
        return quantile_ms(self.first_token_counts, share)

    def total_ms(self, share: float) -> float | None:
        """Return the time to the last byte that `share` of the answers do not exceed."""
        return quantile_ms(self.total_counts, share)


_NOTHING = Figures()


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time cut into points, and what of it is looked at.

    Attributes:
        since: Beginning of the first point; UTC.
        until: End of the last point; UTC.
        feature: Only this; None: all, "": requests that asked for none.
        deployment: Only this; None: all, "": requests that asked none.
    """

    period: Period
    since: datetime
    until: datetime
    feature: str | None = None
    deployment: str | None = None

    @classmethod
    def around(cls, period: Period, since: datetime, until: datetime, **only: Any) -> "Window":
        """Return the window of whole points that holds both times."""
        return cls(period, start_of(period, since), _next_start(period, until), **only)

    @classmethod
    def last(cls, period: Period, points: int, now: datetime, **only: Any) -> "Window":
        """Return the window of the last points, the one that is not over among them."""
        until = start_of(period, now) + _STEP[period]
        return cls(period, until - points * _STEP[period], until, **only)

    @property
    def point_count(self) -> int:
        return (self.until - self.since) // _STEP[self.period]

    @property
    def starts(self) -> list[datetime]:
        return [self.since + number * _STEP[self.period] for number in range(self.point_count)]

    def slices(self) -> QuerySet[UsageSlice]:
        length = _LENGTH[self.period]
        count = (self.until - self.since) // timedelta(seconds=length)
        # Each start by its name: of a range, PostgreSQL guesses by slices of all lengths together
        # how many rows there are, and reads the whole table.
        starts = [self.since + number * timedelta(seconds=length) for number in range(count)]
        rows = UsageSlice.objects.filter(length_s=length, start__in=starts)
        if self.feature is not None:
            rows = rows.filter(feature=self.feature)
        if self.deployment is not None:
            rows = rows.filter(deployment=self.deployment)
        return rows


def start_of(period: Period, at: datetime) -> datetime:
    """Return when the hour, six hours, day or week of a time began."""
    monday = SliceLength.WEEK.start_of(at)
    return monday + (at - monday) // _STEP[period] * _STEP[period]


def _next_start(period: Period, at: datetime) -> datetime:
    start = start_of(period, at)
    return start if start == at else start + _STEP[period]


def points(window: Window) -> list[Figures]:
    """Return the figures of each point of a window, oldest first; all features together."""
    found = _by_point(window, window.slices())
    return [found.get((number,), _NOTHING) for number in range(window.point_count)]


def points_by(
    window: Window, by: By, names: Sequence[str], counts: Sequence[str] = UsageSlice.COUNTS
) -> dict[str, list[Figures]]:
    """Return the points of each of these features or deployments.

    Args:
        window: The time, and what of it.
        by: What `names` are.
        names: Of features or deployments.
        counts: What is wanted of them: all, or `PLAIN_COUNTS`.
    """
    rows = window.slices().filter(**{f"{by.value}__in": names})
    found = _by_point(window, rows, by.value, counts=counts)
    return {
        name: [found.get((number, name), _NOTHING) for number in range(window.point_count)]
        for name in names
    }


def totals_by(window: Window) -> dict[By, dict[str, Figures]]:
    """Return the figures of each feature, and of each deployment; most requests first."""
    found: dict[By, dict[str, Figures]] = {by: {} for by in By}
    for feature, deployment, *sums in _summed(window.slices(), *By):
        figures = Figures.of(sums)
        for by, name in ((By.FEATURE, feature), (By.DEPLOYMENT, deployment)):
            found[by][name] = found[by].get(name, _NOTHING) + figures
    return {
        by: dict(sorted(of_names.items(), key=lambda pair: (-pair[1].requests, pair[0])))
        for by, of_names in found.items()
    }


def last_hour(now: datetime) -> Figures:
    """Return the figures of the last hour, which is up to five minutes longer."""
    length = SliceLength.FIVE_MINUTES
    since = length.start_of(now) - timedelta(hours=1)
    rows = UsageSlice.objects.filter(length_s=length, start__gte=since)
    return reduce(add, (Figures.of(sums) for _, *sums in _summed(rows, "length_s")), _NOTHING)


def _by_point(
    window: Window,
    rows: QuerySet[UsageSlice],
    *keys: str,
    counts: Sequence[str] = UsageSlice.COUNTS,
) -> dict[tuple[Any, ...], Figures]:
    """Return the figures of each point, by its number and the keys; a point may be many slices."""
    step, found = _STEP[window.period], dict[tuple[Any, ...], Sequence[int]]()
    for start, *told in _summed(rows, "start", *keys, counts=counts):
        key = (start - window.since) // step, *told[: len(keys)]
        sums, before = told[len(keys) :], found.get(key)
        found[key] = [*map(add, before, sums)] if before else sums
    return {key: Figures.of(sums) for key, sums in found.items()}


def _summed(
    rows: QuerySet[UsageSlice], *keys: str, counts: Sequence[str] = UsageSlice.COUNTS
) -> Iterable[tuple[Any, ...]]:
    """Return the keys, and the sums of `counts` for each combination of them."""
    sums = {f"sum_{name}": Sum(name) for name in counts}
    found: Any = rows.order_by().values(*keys).annotate(**sums)
    return cast("Iterable[tuple[Any, ...]]", found.values_list(*keys, *sums))
