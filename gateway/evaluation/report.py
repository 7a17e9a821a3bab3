"""Reports of runs: a document for machines, and one self-contained page for people."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone

from feature_config.catalogue import FEATURES, Feature
from gateway.evaluation.verdicts import comparison_with_previous
from prompts.evaluation.verdict import Comparison, Verdict, compare
from prompts.models import EvaluationRun

_RESULT_FIELDS = (
    *("case_id", "is_passed", "score", "reasons"),
    *("skipped", "error", "took_ms", "answer"),
)
#: Of a chart, in the units of its SVG.
CHART_WIDTH = 400


def report_on(runs: Sequence[EvaluationRun]) -> dict[str, Any]:
    """Return what there is to say of runs, ready for JSON.

    Two runs of the same feature are compared, the second with the first.
    """
    return {
        "generated_at": timezone.now().isoformat(timespec="seconds"),
        "runs": [whole_of(run) for run in runs],
        "comparisons": comparisons_of(runs),
    }


def facts_of(run: EvaluationRun) -> dict[str, Any]:
    """Return what the row of a run says, with its verdict; its deployment is loaded."""
    return {
        "run": run.pk,
        "batch": str(run.batch),
        "feature": run.feature,
        "title": FEATURES[Feature(run.feature)].title,
        "deployment": run.deployment.name,
        "family": run.deployment.family,
        "suite": run.suite,
        "suite_version": run.suite_version,
        "suite_digest": run.suite_digest,
        "prompt": f"{run.prompt_variant} {run.prompt_version}",
        "prompt_digest": run.prompt_digest,
        "fingerprint_digest": run.fingerprint_digest,
        "judge": run.judge,
        "runs_code": run.runs_code,
        "state": run.state,
        "reason": run.reason,
        "started_by": run.started_by,
        "created_at": _time(run.created_at),
        "started_at": _time(run.started_at),
        "finished_at": _time(run.finished_at),
        "total_cases": run.total_cases,
        "done_cases": run.done_cases,
        "passed_cases": run.passed_cases,
        "bar": run.bar,
        "verdict": run.verdict and _verdict(run.verdict),
    }


def whole_of(run: EvaluationRun) -> dict[str, Any]:
    """Return all there is to say of a run: its facts, each case, and what changed since."""
    before = comparison_with_previous(run) if run.verdict else None
    results = list(run.results.values(*_RESULT_FIELDS))
    took_ms = sorted(item["took_ms"] for item in results if item["took_ms"] is not None)
    took_s = (
        (run.finished_at - run.started_at).total_seconds()
        if run.finished_at and run.started_at
        else None
    )
    return {
        **facts_of(run),
        "took_s": took_s,
        "median_ms": round(median(took_ms)) if took_ms else None,
        "slowest_ms": took_ms[-1] if took_ms else None,
        "previous": before and {"run": before[0].pk, **told_comparison(before[1])},
        "results": results,
    }


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "score": verdict.share,
        "low": verdict.interval.low,
        "high": verdict.interval.high,
        "is_pass": verdict.is_pass,
    }


def told_comparison(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison, ready for JSON."""
    return {
        "difference": comparison.difference,
        "low": comparison.interval.low,
        "high": comparison.interval.high,
        "is_regression": comparison.is_regression,
        "regressions": list(comparison.regressions),
        "gains": list(comparison.gains),
    }


def comparisons_of(runs: Sequence[EvaluationRun]) -> list[dict[str, Any]]:
    """Compare the two runs of each feature that has two, and over all features if several have."""
    by_feature: dict[str, list[EvaluationRun]] = defaultdict(list)
    for run in runs:
        if run.verdict:
            by_feature[run.feature].append(run)
    pairs = [(item[0], item[1]) for item in by_feature.values() if len(item) == 2]
    rows = []
    everything: tuple[dict[str, bool], dict[str, bool]] = ({}, {})
    for pair in pairs:
        cases = [run.passes_by_case() for run in pair]
        title = FEATURES[Feature(pair[0].feature)].title
        rows.append(compared_row(title, *pair, compare(*cases)))
        for whole, part in zip(everything, cases, strict=True):
            whole |= {f"{pair[0].feature}/{case_id}": passed for case_id, passed in part.items()}
    if len(pairs) > 1:
        rows.append(compared_row("All features", *pairs[0], compare(*everything)))
    return rows


def compared_row(
    title: str, first: EvaluationRun, second: EvaluationRun, comparison: Comparison
) -> dict[str, Any]:
    """Return how `second` did beside `first`, with what tells them apart."""
    labels = [run.deployment.name for run in (first, second)]
    if first.deployment_id == second.deployment_id:
        labels = [f"{run.deployment.name}, prompt {run.prompt_version}" for run in (first, second)]
        if first.prompt_version == second.prompt_version:
            labels = [f"{run.deployment.name}, run {run.pk}" for run in (first, second)]
    return {"title": title, "first": labels[0], "second": labels[1], **told_comparison(comparison)}


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a chart: a value and its interval, in the units of the SVG.

    Attributes:
        told: The same in words.
        mark: Where the suite's bar is; None in a chart without.
        is_good: Whether it is drawn as good.
    """

    label: str
    told: str
    start: float
    width: float
    low: float
    high: float
    mark: float | None
    is_good: bool


def page_of(report: dict[str, Any]) -> str:
    """Return a report as one HTML file: no scripts, and nothing from elsewhere."""
    return render_to_string(
        "gateway/evaluation_report.html", {"report": report, **charts_of(report)}
    )


def charts_of(report: dict[str, Any]) -> dict[str, Any]:
    """Return what `gateway/score_charts.html` draws of a report."""
    return {
        "scores": [_score_bar(run) for run in report["runs"] if run["verdict"]],
        "differences": [(row, _difference_bar(row)) for row in report["comparisons"]],
        "chart_width": CHART_WIDTH,
        "middle": CHART_WIDTH / 2,
    }


def _score_bar(run: dict[str, Any]) -> Bar:
    verdict = run["verdict"]
    return Bar(
        label=f"{run['title']}, {run['deployment']}, prompt {run['prompt']}",
        told=f"{verdict['score']:.0%} ({verdict['low']:.0%} to {verdict['high']:.0%})",
        start=0,
        width=verdict["score"] * CHART_WIDTH,
        low=verdict["low"] * CHART_WIDTH,
        high=verdict["high"] * CHART_WIDTH,
        mark=run["bar"] * CHART_WIDTH,
        is_good=verdict["is_pass"],
    )


def _difference_bar(row: dict[str, Any]) -> Bar:
    middle, difference = CHART_WIDTH / 2, row["difference"]
    return Bar(
        label=row["title"],
        told=f"{difference:+.0%} ({row['low']:+.0%} to {row['high']:+.0%})",
        start=middle + min(difference, 0) * middle,
        width=abs(difference) * middle,
        low=middle + row["low"] * middle,
        high=middle + row["high"] * middle,
        mark=None,
        is_good=difference >= 0,
    )
