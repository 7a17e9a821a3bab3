"""Evaluations in the background, for pages: started, cancelled and resumed from any process.

Progress is in the run's row: `done_cases` of `total_cases`, `state` and `reason`.
"""

from functools import partial
from uuid import UUID, uuid4

from django.db import transaction

from gateway.audit import Attribution, record
from gateway.background import run_in_background
from gateway.evaluation.errors import EvaluationConflict
from gateway.evaluation.runs import EvaluationRequest, current_snapshot, plan_run
from gateway.tasks import carry_out_evaluation
from prompts.models import EvaluationRun


def start_evaluation(
    request: EvaluationRequest, by: Attribution, *, batch: UUID | None = None
) -> EvaluationRun:
    """Store a run and have it carried out once that is committed.

    Args:
        request: What is wanted.
        by: Who wants it, for the audit trail.
        batch: The same for runs that are asked for together.

    Raises:
        PromptError: There is no such prompt.
        EvaluationConflict: A run that asks the same is under way.
        EvaluationRefused: Nothing can answer, there is no such suite, or the feature is not
            supported on the model.
    """
    with transaction.atomic():
        run = plan_run(
            current_snapshot(),
            request,
            started_by=by.author,
            batch=batch or uuid4(),
            is_background=True,
        )
        _check_is_the_only_one(run)
        _record(run, "started", by)
        _carry_out_on_commit(run)
    return run


def cancel_evaluation(run: EvaluationRun, by: Attribution) -> None:
    """Cancel a run wherever it is carried out.

    Raises:
        EvaluationConflict: It was over.
    """
    with transaction.atomic():
        if not EvaluationRun.objects.filter(pk=run.pk).cancel():
            raise EvaluationConflict(f"Run {run.pk} is over; there is nothing to cancel.")
        _record(run, "cancelled", by)
    run.refresh_from_db()


def resume_evaluation(run: EvaluationRun, by: Attribution) -> None:
    """Have what is left of a run carried out; cases that got an answer keep it.

    Raises:
        EvaluationConflict: Nothing is left, or somebody is at it.
    """
    with transaction.atomic():
        if not run.reopen(is_background=True):
            raise EvaluationConflict(
                f"Run {run.pk} is {run.get_state_display().lower()}: start a new one, or wait."
            )
        _check_is_the_only_one(run)
        _record(run, "resumed", by)
        _carry_out_on_commit(run)


def _check_is_the_only_one(run: EvaluationRun) -> None:
    same = EvaluationRun.objects.under_way().asking_the_same(run).exclude(pk=run.pk)
    if twin := same.filter(prompt_digest=run.prompt_digest).first():
        raise EvaluationConflict(
            f"Run {twin.pk} asks the same and is under way: wait for it, or cancel it first."
        )


def _record(run: EvaluationRun, verb: str, by: Attribution) -> None:
    record(by, f"evaluation.{verb}", object_id=f"evaluation:{run.pk}", object_name=str(run))


def _carry_out_on_commit(run: EvaluationRun) -> None:
    transaction.on_commit(partial(run_in_background, carry_out_evaluation, run.pk))
