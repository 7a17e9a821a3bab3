"""Runs: planned from what is configured, carried out case by case, and taken up again.

Everything a run needs is in its row. Whoever carries it out holds its lease and says so every
second, which is also when it learns that it was cancelled.
"""

import secrets
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from feature_config.catalogue import Feature
from gateway.beats import with_beats
from gateway.configuration.stored import read_configuration
from gateway.doors import open_fleet
from gateway.evaluation.errors import EvaluationRefused
from gateway.evaluation.live import LiveModel, find_candidate, find_judge
from gateway.evaluation.suites import suite_for
from gateway.gates import Candidate
from gateway.runtime import RuntimeSettings, runtime_settings
from gateway.snapshot import ServingSnapshot, build_snapshot
from prompts.errors import PromptError
from prompts.evaluation.runner import run_suite
from prompts.evaluation.suite import CaseResult, Suite
from prompts.loader import shipped_prompts
from prompts.models import EvaluationResult, EvaluationRun
from selfhosted_models.background_runs import MAX_ATTEMPTS, RunState
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox

log = structlog.get_logger(__name__)


def current_snapshot() -> ServingSnapshot:
    """Return what is configured now; reads the database."""
    box = SecretBox(settings.ENCRYPTION_KEYS)
    return build_snapshot(read_configuration(), shipped_prompts().registry, box)


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is to be evaluated, and how.

    Attributes:
        feature: Whose suite is asked.
        deployment: Name of whom it is asked; empty: of the one assigned first.
        prompt_version: Constraint on the prompt, in place of the admin's.
        suite_path: File of a suite of the site's own; empty: ours.
        judge: Name of the deployment that judges; empty: `judge` checks are skipped.
        runs_code: Whether scorers may run what the model wrote.
    """

    feature: Feature
    deployment: str = ""
    prompt_version: str = ""
    suite_path: str = ""
    judge: str = ""
    runs_code: bool = False

    def beside(self, deployment: str, prompt_version: str) -> "EvaluationRequest":
        """Return the same of another deployment or version; "" is the same one."""
        return replace(
            self,
            deployment=deployment or self.deployment,
            prompt_version=prompt_version or self.prompt_version,
        )


def plan_run(
    snapshot: ServingSnapshot,
    request: EvaluationRequest,
    *,
    started_by: str,
    batch: UUID,
    is_background: bool = False,
) -> EvaluationRun:
    """Store a run that is to be carried out.

    Args:
        snapshot: What is configured.
        request: What is wanted.
        started_by: Who wants it, for people.
        batch: The same for runs that are asked for together.
        is_background: Whether a worker carries it out, not whoever asks.

    Raises:
        PromptError: There is no such prompt.
        EvaluationRefused: Nothing can answer, there is no such suite, or the feature is not
            supported on the model.
    """
    candidate = find_candidate(
        snapshot, request.feature, request.deployment, request.prompt_version
    )
    if request.judge:
        find_judge(snapshot, request.judge)
    suite = suite_for(request.feature, request.suite_path)
    deployment = ModelDeployment.objects.get(name=candidate.serving.deployment)
    measured = deployment.newest_fingerprint
    return EvaluationRun.objects.create(
        batch=batch,
        feature=request.feature,
        deployment=deployment,
        subject=deployment.measured_subject,
        fingerprint_digest=measured.digest if measured else "",
        fingerprint_facts=measured.facts if measured else {},
        suite=suite.name,
        suite_path=request.suite_path,
        suite_version=suite.version,
        suite_digest=suite.digest,
        bar=suite.bar,
        prompt_variant=candidate.prompt.variant,
        prompt_version=candidate.prompt.version,
        prompt_digest=candidate.prompt.digest,
        judge=request.judge,
        runs_code=request.runs_code,
        total_cases=len(suite.cases),
        started_by=started_by,
        is_background=is_background,
    )


def carry_out(
    run_id: int,
    on_progress: Callable[[EvaluationRun], None] = lambda _: None,
    options: RuntimeSettings | None = None,
) -> None:
    """Ask what is left of a run; nothing if it is over, or somebody else carries it out.

    Args:
        run_id: Of an `EvaluationRun`.
        on_progress: Told after each case, and every second; may raise KeyboardInterrupt.
        options: Of the gateway; by default, of the settings.
    """
    run = EvaluationRun.objects.select_related("deployment").filter(pk=run_id).first()
    if run is None or not run.take_up(holder=secrets.token_hex(16)):
        return
    if run.attempts > MAX_ATTEMPTS:
        run.finish(RunState.FAILED, "Its workers died again and again: see their logs.")
        return
    try:
        _ask_what_is_left(run, on_progress, options or runtime_settings())
    except (PromptError, EvaluationRefused) as error:
        run.finish(RunState.FAILED, error.safe_message)
    except Exception as error:  # a bug: the run must not stay open for it
        with suppress(DatabaseError):
            run.finish(RunState.FAILED, f"An error of ours, {type(error).__name__}: see the log.")
        raise
    log.info(
        "evaluation.ended",
        run=run.pk,
        feature=run.feature,
        deployment=run.deployment.name,
        state=run.state,
        reason=run.reason,
        done_cases=run.done_cases,
        passed_cases=run.passed_cases,
        total_cases=run.total_cases,
    )


def sweep() -> None:
    """Carry out what a worker that died, or a broker that forgot, has left undone."""
    for run_id in EvaluationRun.objects.abandoned().values_list("pk", flat=True):
        carry_out(run_id)


def forget_answers() -> None:
    """Delete the answers that were kept long enough."""
    before = timezone.now() - timedelta(days=settings.EVALUATION_ANSWER_DAYS)
    old = EvaluationResult.objects.filter(created_at__lt=before).exclude(answer="")
    log.info("evaluation.answers_deleted", answers=old.update(answer=""))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a run asks, read again from its row: it may be days old."""

    suite: Suite
    candidate: Candidate
    judging: Candidate | None


def _plan_of(run: EvaluationRun) -> _Plan:
    """Return what `run` asks.

    Raises:
        PromptError: The prompt is gone.
        EvaluationRefused: The deployment cannot answer any more, or suite, prompt or server
            changed: results would be of two different questions.
    """
    snapshot, feature = current_snapshot(), Feature(run.feature)
    suite = suite_for(feature, run.suite_path)
    name = run.deployment.name
    candidate = find_candidate(snapshot, feature, name, run.prompt_version)
    is_as_it_was = {
        "suite": suite.digest == run.suite_digest,
        "prompt": candidate.prompt.digest == run.prompt_digest,
        "model server": run.asked_server(run.deployment.newest_fingerprint),
    }
    if changed := [name for name, is_same in is_as_it_was.items() if not is_same]:
        raise EvaluationRefused(f"The {changed[0]} changed since the run began: start a new one.")
    return _Plan(suite, candidate, find_judge(snapshot, run.judge) if run.judge else None)


def _ask_what_is_left(
    run: EvaluationRun, on_progress: Callable[[EvaluationRun], None], options: RuntimeSettings
) -> None:
    plan = _plan_of(run)
    done = set(run.results.values_list("case_id", flat=True))
    keeps_answer = settings.EVALUATION_ANSWER_DAYS > 0
    answers = _answers(plan, done, options, runs_code=run.runs_code)
    with closing(with_beats(answers)) as results:
        for result in results:
            if result is not None:
                run.record(result, keeps_answer=keeps_answer)
            elif not run.renew_lease():
                break
            on_progress(run)
    if run.done_cases < run.total_cases:  # it was cancelled, or is another's by now
        run.refresh_from_db()
    elif run.results.filter(error="").exists():
        run.finish(RunState.FINISHED)
    else:
        codes = sorted(set(run.results.values_list("error", flat=True)))
        run.finish(RunState.FAILED, f"No case got an answer: {', '.join(codes)}.")


async def _answers(
    plan: _Plan, done: Collection[str], options: RuntimeSettings, *, runs_code: bool
) -> AsyncGenerator[CaseResult, None]:
    judged_by = (plan.judging.serving,) if plan.judging else ()
    async with open_fleet(options, (plan.candidate.serving, *judged_by)) as fleet:
        model = LiveModel(fleet, plan.suite.feature, plan.candidate, plan.judging)
        results = run_suite(
            plan.suite,
            model.ask,
            judge=model.judge if plan.judging else None,
            concurrency=model.concurrency,
            done=done,
            allows_execution=runs_code,
        )
        async with aclosing(results):
            async for result in results:
                yield result
