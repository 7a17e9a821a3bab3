"""Quantiles out of counts, for any period that counts are added up over."""

import statistics
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.usage.latency import BOUNDS_MS, BUCKETS, bucket_of, quantile_ms


def counts_of(times_ms: Sequence[float]) -> list[int]:
    counts = [0] * BUCKETS
    for ms in times_ms:
        counts[bucket_of(ms)] += 1
    return counts


@pytest.mark.parametrize(("ms", "number"), [(0, 0), (50, 0), (50.1, 1), (300_000, 19), (1e9, 20)])
def test_time_is_counted_where_it_is_not_over_the_end(ms: float, number: int) -> None:
    assert bucket_of(ms) == number


def test_nothing_has_no_quantile() -> None:
    assert quantile_ms([0] * BUCKETS, 0.5) is None


def test_quantile_is_read_off_within_its_bucket() -> None:
    counts = counts_of([250] * 50 + [350] * 50)  # 200 to 300, and 300 to 400

    assert quantile_ms(counts, 0.5) == 300
    assert quantile_ms(counts, 0.75) == 350
    assert quantile_ms(counts, 0.25) == 250


def test_what_is_over_every_end_is_told_as_the_last() -> None:
    assert quantile_ms(counts_of([1e9]), 0.95) == BOUNDS_MS[-1]


@given(st.lists(st.floats(min_value=1, max_value=299_999), min_size=1, max_size=200))
def test_median_is_never_wrong_by_more_than_its_bucket(times_ms: list[float]) -> None:
    found = quantile_ms(counts_of(times_ms), 0.5)

    true = bucket_of(statistics.median_low(times_ms))
    assert found is not None
    assert (BOUNDS_MS[true - 1] if true else 0) <= found <= BOUNDS_MS[true]


def test_no_bucket_is_wider_than_once_and_a_half_its_beginning() -> None:
    assert all(high - low <= 1.5 * low for low, high in pairwise(BOUNDS_MS))
