"""Evaluations in the admin: started, watched, cancelled, read and compared."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from gateway.audit import Attribution, Origin, attribution_of_request
from gateway.evaluation.errors import EvaluationRefused
from gateway.evaluation.forms import StartForm
from gateway.evaluation.jobs import cancel_evaluation, resume_evaluation
from gateway.evaluation.report import (
    charts_of,
    compared_row,
    comparisons_of,
    facts_of,
    page_of,
    report_on,
)
from gateway.evaluation.suites import own_suites
from gateway.evaluation.verdicts import compare_runs
from gateway.pages.charts import Chart, Series, Slot, as_percent, lines
from gateway.pages.frame import page
from prompts.models import EvaluationRun
from selfhosted_models.background_runs import RunState
from selfhosted_models.models import ModelDeployment

#: The newest; the REST API has the others.
SHOWN_RUNS = 100
#: Of the chart of how scores went.
CHARTED_RUNS = 30

_RUNS = EvaluationRun.objects.select_related("deployment")
_TONES = {RunState.CANCELLED: "", RunState.FAILED: "bad", RunState.FINISHED: "good"}


def may_run(request: HttpRequest) -> bool:
    return request.user.has_perm("prompts.add_evaluationrun")


def evaluations(request: HttpRequest) -> HttpResponse:
    """Show the newest runs, and the form that starts others; the query fills it in."""
    return _list(request, _form(initial=request.GET.dict()))


def start(request: HttpRequest) -> HttpResponse:
    """Start what the form asks for, or show it again with what is wrong."""
    form = _form(request.POST)
    if not form.is_valid():
        return _list(request, form)
    runs, refusals = form.start(attribution_of_request(request, Origin.WEB))
    for refusal in refusals if not runs or form.cleaned_data["feature"] else ():
        messages.error(request, refusal)
    if not runs:
        return _list(request, form)
    left_out = f" {len(refusals)} cannot be asked now." if refusals else ""
    messages.success(
        request, f"{len(runs)} evaluation{'s' * (len(runs) > 1)} will be carried out.{left_out}"
    )
    return _to_run(runs[0].pk) if len(runs) == 1 else _to_batch(runs[0].batch)


def together(request: HttpRequest, batch: UUID) -> HttpResponse:
    """Show runs that were asked for together: how far they are, and what tells them apart."""
    runs = _of_batch(batch)
    report = {"runs": [facts_of(run) for run in runs], "comparisons": comparisons_of(runs)}
    features = {run.feature for run in runs}
    context = {
        "batch": batch,
        "runs": _with_tones(runs),
        "is_over": all(run.is_over for run in runs),
        "pair": runs if len(runs) == 2 and len(features) == 1 else (),
        "may_run": may_run(request),
        **charts_of(report),
    }
    title = f"{len(runs)} evaluations"
    if context["pair"]:
        title = f"{runs[0].get_feature_display()}, side by side"
    return page(request, "gateway/evaluations_together.html", title, context)


def cancel_together(request: HttpRequest, batch: UUID) -> HttpResponse:
    """Cancel what is not over of runs that were asked for together."""
    cancelled = 0
    for run in _of_batch(batch):
        with suppress(EvaluationRefused):  # it came to its end meanwhile
            cancel_evaluation(run, attribution_of_request(request, Origin.WEB))
            cancelled += 1
    messages.success(request, f"Cancelled: {cancelled} of them. What was answered is kept.")
    return _to_batch(batch)


def evaluation(request: HttpRequest, number: int) -> HttpResponse:
    """Show one run: how far it is, how it went, and how beside another (`with`)."""
    run = get_object_or_404(_RUNS, pk=number)
    report = report_on([run])
    told, difference, cases = "", None, []
    others = (
        EvaluationRun.objects.filter(
            feature=run.feature, suite_digest=run.suite_digest, state=RunState.FINISHED
        )
        .exclude(pk=run.pk)
        .select_related("deployment")[:SHOWN_RUNS]
    )
    other = _chosen(request, run, others)
    if other is not None:
        try:
            difference = compare_runs(other, run)
        except EvaluationRefused as refused:
            told = refused.safe_message
        else:
            report["comparisons"] = [
                compared_row(report["runs"][0]["title"], other, run, difference)
            ]
            cases = _side_by_side(other, run)
    context = {
        "run": report["runs"][0],
        "row": run,
        "tone": _TONES.get(RunState(run.state), "warn"),
        "others": others if run.verdict else (),
        "other": other,
        "told": told,
        "cases": cases,
        "history": _history(run),
        "is_one_of_many": EvaluationRun.objects.filter(batch=run.batch).exclude(pk=run.pk).exists(),
        "may_run": may_run(request),
        **charts_of(report),
    }
    return page(request, "gateway/evaluation.html", f"Evaluation {run.pk}", context)


def report(request: HttpRequest, number: int) -> HttpResponse:
    """Send the report of a run, or of all that were asked for with it, as one file."""
    run = get_object_or_404(_RUNS, pk=number)
    runs = list(_RUNS.filter(batch=run.batch).order_by("pk"))
    name = f"evaluation-{run.pk}.html"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(page_of(report_on(runs)), headers=headers)


def cancel(request: HttpRequest, number: int) -> HttpResponse:
    return _done(request, number, cancel_evaluation, "Cancelled. What was answered is kept.")


def resume(request: HttpRequest, number: int) -> HttpResponse:
    return _done(request, number, resume_evaluation, "It goes on with what is left.")


def _done(
    request: HttpRequest,
    number: int,
    action: Callable[[EvaluationRun, Attribution], None],
    told: str,
) -> HttpResponse:
    run = get_object_or_404(_RUNS, pk=number)
    try:
        action(run, attribution_of_request(request, Origin.WEB))
    except EvaluationRefused as refused:
        messages.error(request, refused.safe_message)
    else:
        messages.success(request, told)
    return _to_run(number)


def _to_run(number: int) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:evaluation", args=[number]))


def _to_batch(batch: UUID) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:evaluations_together", args=[batch]))


def _of_batch(batch: UUID) -> list[EvaluationRun]:
    """Return runs that were asked for together, the first one first."""
    runs = list(_RUNS.filter(batch=batch).with_passes().order_by("pk"))
    if not runs:
        raise Http404
    return runs


def _with_tones(runs: Iterable[EvaluationRun]) -> list[tuple[EvaluationRun, str]]:
    return [(run, _TONES.get(RunState(run.state), "warn")) for run in runs]


def _form(*args: Any, **kwargs: Any) -> StartForm:
    deployments = list(ModelDeployment.objects.active().order_by("name"))
    return StartForm(*args, deployments=deployments, suites=own_suites().suites, **kwargs)


def _list(request: HttpRequest, form: StartForm) -> HttpResponse:
    runs = _RUNS[:SHOWN_RUNS]
    context = {
        "form": form,
        "runs": _with_tones(runs),
        "has_deployments": ModelDeployment.objects.active().exists(),
        "problems": own_suites().problems,
        "may_run": may_run(request),
    }
    return page(request, "gateway/evaluations.html", "Evaluations", context)


def _chosen(request: HttpRequest, run: EvaluationRun, others: Any) -> EvaluationRun | None:
    """Return the run to compare with: the one asked for, else the other side of a comparison."""
    wanted = request.GET.get("with")
    if wanted is None:
        return next((other for other in others if other.batch == run.batch), None)
    return next((other for other in others if str(other.pk) == wanted), None)


def _side_by_side(first: EvaluationRun, second: EvaluationRun) -> list[tuple[str, bool, bool]]:
    """Return each case with whether both passed it, those that differ first."""
    one, other = first.passes_by_case(), second.passes_by_case()
    rows = [(case, one[case], other[case]) for case in one if case in other]
    return sorted(rows, key=lambda row: (row[1] == row[2], row[0]))


def _history(run: EvaluationRun) -> Chart | None:
    """Return how the scores of the same suite went on the same deployment; None for one run."""
    same = EvaluationRun.objects.asking_the_same(run).filter(state=RunState.FINISHED)
    runs = list(same.order_by("-pk")[:CHARTED_RUNS])[::-1]
    if len(runs) < 2:
        return None
    slots = [
        Slot(f"run {item.pk}, {item.finished_at:%Y-%m-%d %H:%M}", f"{item.finished_at:%d %b}")
        for item in runs
    ]
    scores = [item.verdict.share if item.verdict else None for item in runs]
    title = "Share that passed, run by run"
    return lines("scores", title, slots, [Series("passed", scores)], as_percent)
