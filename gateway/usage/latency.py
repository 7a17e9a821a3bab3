"""Times as counts in fixed buckets: they can be added up over any period, and quantiles read off.

A quantile is right to the width of its bucket: at most once and a half the time it begins at.
"""

from bisect import bisect_left
from collections.abc import Sequence

#: Upper ends of the buckets; a last one takes what is longer.
BOUNDS_MS = (
    *(50, 100, 150, 200, 300, 400, 600, 800, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000),
    *(10_000, 15_000, 30_000, 60_000, 120_000, 300_000),
)
BUCKETS = len(BOUNDS_MS) + 1


def bucket_of(ms: float) -> int:
    """Return the number of the bucket that takes a time."""
    return bisect_left(BOUNDS_MS, ms)


def quantile_ms(counts: Sequence[int], share: float) -> float | None:
    """Return the time that `share` of all times do not exceed; None if there are none.

    Args:
        counts: Of each bucket, `BUCKETS` of them.
        share: 0 to 1: 0.5 is the median.
    """
    rank = sum(counts) * share
    if not rank:
        return None
    before = 0
    for number, count in enumerate(counts[:-1]):
        if before + count >= rank:
            low = BOUNDS_MS[number - 1] if number else 0
            return low + (BOUNDS_MS[number] - low) * (rank - before) / count
        before += count
    return float(BOUNDS_MS[-1])
