"""Evaluations in the background, for pages: started, cancelled and resumed from any process.

Progress is in the run's row: `done_cases` of `total_cases`, `state` and `reason`.
"""

from functools import partial
from uuid import UUID, uuid4

from django.db import transaction

from gateway.background import run_in_background
from gateway.evaluation.runs import EvaluationRequest, current_snapshot, plan_run
from gateway.tasks import carry_out_evaluation
from prompts.models import EvaluationRun


def start_evaluation(
    request: EvaluationRequest, *, started_by: str, batch: UUID | None = None
) -> EvaluationRun:
    """Store a run and have it carried out once that is committed.

    Args:
        request: What is wanted.
        started_by: Name of the user who wants it.
        batch: The same for runs that are asked for together.

    Raises:
        FeatureError, PromptError: Nothing can answer, or there is no such prompt.
        EvaluationRefused: There is no such suite, or the feature is not supported on the model.
    """
    run = plan_run(
        current_snapshot(),
        request,
        started_by=started_by,
        batch=batch or uuid4(),
        is_background=True,
    )
    _carry_out_on_commit(run)
    return run


def cancel_evaluation(run: EvaluationRun) -> bool:
    """Cancel a run wherever it is carried out; False if it was over."""
    return bool(EvaluationRun.objects.filter(pk=run.pk).cancel())


def resume_evaluation(run: EvaluationRun) -> bool:
    """Have what is left of a run carried out; False if nothing is, or somebody is at it."""
    is_open = run.reopen(is_background=True)
    if is_open:
        _carry_out_on_commit(run)
    return is_open


def _carry_out_on_commit(run: EvaluationRun) -> None:
    transaction.on_commit(partial(run_in_background, carry_out_evaluation, run.pk))
