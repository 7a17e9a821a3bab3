"""What results say of a model: shares with their intervals, and comparisons. Pure."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

#: Of the normal distribution, for 95 %.
Z_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Interval:
    """A range that a value lies in with 95 % confidence."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run over a suite ended.

    Attributes:
        passed: Cases that passed.
        total: Cases that were asked; those without an answer did not pass.
        interval: Of the share that would pass of all cases like these.
        is_pass: Whether the share reaches the suite's bar.
    """

    passed: int
    total: int
    interval: Interval
    is_pass: bool

    @property
    def share(self) -> float:
        return self.passed / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs over the same cases.

    Attributes:
        difference: Share passed by the second less that of the first, -1 to 1.
        interval: Of the difference.
        regressions: Cases that only the first passed.
        gains: Cases that only the second passed.
    """

    difference: float
    interval: Interval
    regressions: tuple[str, ...]
    gains: tuple[str, ...]

    @property
    def is_regression(self) -> bool:
        """Whether the second is worse, by more than chance explains."""
        return self.interval.high < 0


def verdict_of(passed: int, total: int, bar: float) -> Verdict:
    """Return the verdict over a run of `total` cases; one without any does not pass."""
    is_pass = total > 0 and passed / total >= bar
    return Verdict(passed, total, wilson_interval(passed, total), is_pass)


def compare(first: Mapping[str, bool], second: Mapping[str, bool], *, seed: int = 0) -> Comparison:
    """Compare two runs, case by case, over the cases both have.

    Args:
        first: Whether each case passed, by its id.
        second: The same of the other run.
        seed: Of the bootstrap, so that the same runs compare the same.
    """
    both = [case_id for case_id in first if case_id in second]
    pairs = [(float(first[case_id]), float(second[case_id])) for case_id in both]
    return Comparison(
        difference=fmean([after - before for before, after in pairs]) if pairs else 0.0,
        interval=paired_bootstrap(pairs, seed=seed),
        regressions=tuple(case for case in both if first[case] and not second[case]),
        gains=tuple(case for case in both if second[case] and not first[case]),
    )


def wilson_interval(passed: int, total: int) -> Interval:
    """Return the interval of a share, which holds for few cases and for all or none passed.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if total == 0:
        return Interval(0.0, 1.0)
    share, z2 = passed / total, Z_95**2
    centre = share + z2 / (2 * total)
    spread = Z_95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    scale = 1 + z2 / total
    return Interval(max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def paired_bootstrap(
    pairs: Sequence[tuple[float, float]], *, samples: int = 2000, seed: int = 0
) -> Interval:
    """Return the interval of the mean difference, second less first, of paired scores.

    Cases are drawn with replacement, each with both of its scores.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, percentile interval.
    """
    if not pairs:
        return Interval(0.0, 0.0)
    differences = [after - before for before, after in pairs]
    draw = random.Random(seed)  # noqa: S311 - statistics
    means = sorted(fmean(draw.choices(differences, k=len(differences))) for _ in range(samples))
    edge = round(0.025 * (samples - 1))
    return Interval(means[edge], means[-1 - edge])
