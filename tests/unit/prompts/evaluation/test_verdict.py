import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.evaluation.verdict import (
    Interval,
    compare,
    paired_bootstrap,
    verdict_of,
    wilson_interval,
)


# Computed by hand from Wilson's formula with z = 1.959964.
@pytest.mark.parametrize(
    ("passed", "total", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (8, 12, 0.3906, 0.8619),
        (81, 263, 0.2553, 0.3662),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_interval_is_as_published(passed: int, total: int, low: float, high: float) -> None:
    interval = wilson_interval(passed, total)

    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 400), st.data())
def test_wilson_interval_holds_the_share_within_0_and_1(total: int, data: st.DataObject) -> None:
    passed = data.draw(st.integers(0, total))

    interval = wilson_interval(passed, total)

    assert 0 <= interval.low <= passed / total + 1e-9
    assert passed / total - 1e-9 <= interval.high <= 1


def test_more_cases_make_it_narrower() -> None:
    few, many = wilson_interval(6, 12), wilson_interval(60, 120)

    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize(("bar", "is_pass"), [(0.5, True), (0.6, True), (0.61, False)])
def test_verdict_is_by_the_bar(bar: float, is_pass: bool) -> None:
    verdict = verdict_of(6, 10, bar)

    assert (verdict.passed, verdict.total, verdict.share) == (6, 10, 0.6)
    assert verdict.is_pass is is_pass
    assert verdict.interval == wilson_interval(6, 10)


def test_run_without_results_does_not_pass() -> None:
    verdict = verdict_of(0, 0, 0)

    assert (verdict.is_pass, verdict.share) == (False, 0.0)


def test_comparison_names_what_was_lost_and_won() -> None:
    first = {"a": True, "b": False, "c": True, "old": True}
    second = {"a": True, "b": True, "c": False, "new": False}

    comparison = compare(first, second)

    assert comparison.regressions == ("c",)
    assert comparison.gains == ("b",)
    assert comparison.difference == 0
    assert comparison.interval.low < 0 < comparison.interval.high


def test_clear_difference_has_an_interval_beside_zero() -> None:
    first = {str(n): n < 4 for n in range(40)}
    second = {str(n): n < 30 for n in range(40)}

    comparison = compare(first, second)

    assert comparison.difference == pytest.approx(26 / 40)
    assert 0.4 < comparison.interval.low < comparison.difference < comparison.interval.high < 0.9
    assert not comparison.is_regression
    assert compare(second, first).is_regression


def test_same_answers_differ_in_nothing() -> None:
    runs = {str(n): n % 2 == 0 for n in range(20)}

    assert compare(runs, runs).interval == Interval(0, 0)
    assert compare({}, runs).interval == Interval(0, 0)


def test_bootstrap_is_the_same_for_the_same_runs() -> None:
    pairs = [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]

    assert paired_bootstrap(pairs) == paired_bootstrap(pairs)
    assert paired_bootstrap(pairs, seed=1, samples=50) != paired_bootstrap(pairs, samples=49)


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1))
def test_bootstrap_stays_within_what_there_is(pairs: list[tuple[float, float]]) -> None:
    interval = paired_bootstrap(pairs, samples=100)

    differences = [after - before for before, after in pairs]
    assert min(differences) <= interval.low <= interval.high <= max(differences)
