"""What requests came to over time, read from the slices: for the pages and the REST API.

Each function takes one query, however many requests there were.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
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
    DAY = "day"
    WEEK = "week"


class By(StrEnum):
    """What series are told apart by."""

    FEATURE = "feature"
    DEPLOYMENT = "deployment"


#: Points of one series at most.
MAX_POINTS = 750
_DAY = timedelta(days=1)
_STEP = {Period.HOUR: timedelta(hours=1), Period.DAY: _DAY, Period.WEEK: 7 * _DAY}


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
    def of(cls, sums: Sequence[int | None]) -> "Figures":
        """Return the figures out of a sum for each of `UsageSlice.COUNTS`."""
        known = [value or 0 for value in sums]
        plain: dict[str, Any] = dict(zip(UsageSlice.COUNTS, known[: -2 * BUCKETS], strict=False))
        return cls(
            **plain,
            first_token_counts=tuple(known[-2 * BUCKETS : -BUCKETS]),
            total_counts=tuple(known[-BUCKETS:]),
        )

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
        length_s = SliceLength.HOUR if self.period is Period.HOUR else SliceLength.DAY
        rows = UsageSlice.objects.filter(
            length_s=length_s, start__gte=self.since, start__lt=self.until
        )
        if self.feature is not None:
            rows = rows.filter(feature=self.feature)
        if self.deployment is not None:
            rows = rows.filter(deployment=self.deployment)
        return rows


def start_of(period: Period, at: datetime) -> datetime:
    """Return when the hour, day or week of a time began."""
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if period is Period.HOUR:
        return at
    midnight = at.replace(hour=0)
    return midnight if period is Period.DAY else midnight - timedelta(days=at.weekday())


def _next_start(period: Period, at: datetime) -> datetime:
    start = start_of(period, at)
    return start if start == at else start + _STEP[period]


def points(window: Window) -> list[Figures]:
    """Return the figures of each point of a window, oldest first; all features together."""
    summed = _summed(window.slices(), "start")
    return _in_order(window, ((start, sums) for start, *sums in summed))


def points_by(window: Window, by: By, names: Sequence[str]) -> dict[str, list[Figures]]:
    """Return the figures of each point for each of these features or deployments."""
    found: dict[str, list[tuple[datetime, list[int]]]] = {name: [] for name in names}
    rows = window.slices().filter(**{f"{by.value}__in": names})
    for start, name, *sums in _summed(rows, "start", by.value):
        found[name].append((start, sums))
    return {name: _in_order(window, of_name) for name, of_name in found.items()}


def totals_by(window: Window, by: By) -> dict[str, Figures]:
    """Return the figures of each feature or deployment in a window; most requests first."""
    figures = {name: Figures.of(sums) for name, *sums in _summed(window.slices(), by.value)}
    return dict(sorted(figures.items(), key=lambda pair: (-pair[1].requests, pair[0])))


def last_hour(now: datetime) -> Figures:
    """Return the figures of the last hour, which is up to five minutes longer."""
    length_s = SliceLength.FIVE_MINUTES
    since = datetime.fromtimestamp(now.timestamp() // length_s * length_s, UTC) - timedelta(hours=1)
    rows = UsageSlice.objects.filter(length_s=length_s, start__gte=since)
    return reduce(add, (Figures.of(sums) for _, *sums in _summed(rows, "length_s")), Figures())


def _summed(rows: QuerySet[UsageSlice], *keys: str) -> Iterable[tuple[Any, ...]]:
    """Return the keys, and the sums of `UsageSlice.COUNTS` for each combination of them."""
    sums = {f"sum_{name}": Sum(name) for name in UsageSlice.COUNTS}
    found: Any = rows.order_by().values(*keys).annotate(**sums)
    return cast("Iterable[tuple[Any, ...]]", found.values_list(*keys, *sums))


def _in_order(window: Window, summed: Iterable[tuple[datetime, Sequence[int]]]) -> list[Figures]:
    """Put figures to their points, days together where these are weeks."""
    found = dict.fromkeys(window.starts, Figures())
    for start, sums in summed:
        found[start_of(window.period, start)] += Figures.of(sums)
    return [*found.values()]
