"""Evaluations in the background, for pages: started, cancelled and resumed from any process.

Progress is in the run's row: `done_cases` of `total_cases`, `state` and `reason`.
"""

from functools import partial
from uuid import UUID, uuid4

from django.db import transaction

from gateway.audit import Attribution, record
from gateway.background import run_in_background
from gateway.evaluation.errors import EvaluationConflict, EvaluationRefused
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
        run = _planned(request, by, batch or uuid4())
        _begin(run, "started", by)
    return run


def start_comparison(
    first: EvaluationRequest,
    second: EvaluationRequest,
    by: Attribution,
    *,
    batch: UUID | None = None,
) -> tuple[EvaluationRun, EvaluationRun]:
    """Start two runs of the same cases, or neither; they are compared once both are over.

    Args:
        first: One side.
        second: The other: another deployment or another version of the prompt, all else the same.
        by: Who wants it, for the audit trail.
        batch: The same for runs that are asked for together.

    Raises:
        PromptError: As `start_evaluation`, for either side.
        EvaluationConflict: As there.
        EvaluationRefused: As there, or both sides come to the same.
    """
    batch = batch or uuid4()
    with transaction.atomic():
        one, other = _planned(first, by, batch), _planned(second, by, batch)
        if (one.deployment_id, one.prompt_digest) == (other.deployment_id, other.prompt_digest):
            raise EvaluationRefused(
                f"Both sides are {one.deployment.name} with prompt {one.prompt_version}: choose "
                "another deployment, or another version of the prompt."
            )
        for run in (one, other):
            _begin(run, "started", by)
    return one, other


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
        _begin(run, "resumed", by)


def _planned(request: EvaluationRequest, by: Attribution, batch: UUID) -> EvaluationRun:
    return plan_run(
        current_snapshot(), request, started_by=by.author, batch=batch, is_background=True
    )


def _begin(run: EvaluationRun, verb: str, by: Attribution) -> None:
    _check_is_the_only_one(run)
    _record(run, verb, by)
    transaction.on_commit(partial(run_in_background, carry_out_evaluation, run.pk))


def _check_is_the_only_one(run: EvaluationRun) -> None:
    same = EvaluationRun.objects.under_way().asking_the_same(run).exclude(pk=run.pk)
    if twin := same.filter(prompt_digest=run.prompt_digest).first():
        raise EvaluationConflict(
            f"Run {twin.pk} asks the same and is under way: wait for it, or cancel it first."
        )


def _record(run: EvaluationRun, verb: str, by: Attribution) -> None:
    record(by, f"evaluation.{verb}", object_id=f"evaluation:{run.pk}", object_name=str(run))
