"""What evaluations were run, and how each case went."""

from datetime import timedelta
from typing import ClassVar
from uuid import uuid4

from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from feature_config.catalogue import Feature
from feature_config.models import feature_choices
from prompts.evaluation.suite import CaseResult
from prompts.evaluation.verdict import Verdict, verdict_of
from selfhosted_models.models import ModelDeployment

#: Whoever carries a run out says so again and again; after so long in silence, it has died.
LEASE_S = 30.0
#: How often a run is taken up in all: one that kills its workers must come to an end.
MAX_ATTEMPTS = 5
#: Of an answer that is kept.
MAX_ANSWER_CHARS = 8_000


class RunState(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self not in {RunState.QUEUED, RunState.RUNNING}


class EvaluationRunQuerySet(models.QuerySet["EvaluationRun"]):
    def unfinished(self) -> "EvaluationRunQuerySet":
        return self.exclude(state=RunState.FINISHED)

    def abandoned(self) -> "EvaluationRunQuerySet":
        """Return those that should be under way in the background, and that nobody carries out."""
        under_way = Q(state__in=[RunState.QUEUED, RunState.RUNNING])
        return self.filter(under_way, is_background=True, lease_until__lt=timezone.now())

    def cancel(self) -> int:
        """Cancel those that are not over; whoever carries one out notices within a second."""
        under_way = self.filter(state__in=[RunState.QUEUED, RunState.RUNNING])
        return under_way.update(state=RunState.CANCELLED, finished_at=timezone.now())


class EvaluationRun(models.Model):
    """One suite, asked of one deployment.

    It is carried out by whoever holds its lease, and cancelled by its state: both are columns, so
    that any process can.
    """

    batch = models.UUIDField(
        default=uuid4, db_index=True, help_text="Shared by runs that were asked for together."
    )
    feature = models.CharField(max_length=40, choices=feature_choices)
    deployment = models.ForeignKey(ModelDeployment, models.CASCADE, related_name="evaluation_runs")
    suite = models.CharField(max_length=100)
    suite_path = models.CharField(max_length=500, blank=True, help_text="Empty: one of ours.")
    suite_version = models.CharField(max_length=20)
    suite_digest = models.CharField(max_length=16)
    bar = models.FloatField(help_text="Share of the cases that must pass, 0 to 1.")
    prompt_variant = models.CharField(max_length=40)
    prompt_version = models.CharField(max_length=40)
    prompt_digest = models.CharField(max_length=64)
    fingerprint_digest = models.CharField(
        max_length=64, blank=True, help_text="Of the model servers; empty: not known."
    )
    judge = models.CharField(max_length=100, blank=True, help_text="Deployment that judged.")
    runs_code = models.BooleanField(default=False, help_text="What the model wrote was run.")
    state = models.CharField(max_length=10, choices=RunState, default=RunState.QUEUED)
    reason = models.CharField(max_length=500, blank=True, help_text="Why it failed.")
    total_cases = models.PositiveIntegerField()
    done_cases = models.PositiveIntegerField(default=0)
    passed_cases = models.PositiveIntegerField(default=0)
    started_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    is_background = models.BooleanField(default=False, help_text="A worker carries it out.")
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_holder = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(default=timezone.now)

    objects = EvaluationRunQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(
                fields=["feature", "deployment", "-finished_at"], name="prompts_run_latest"
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="prompts_evaluationrun_feature_known",
                condition=Q(feature__in=[feature.value for feature in Feature]),
            ),
            models.CheckConstraint(
                name="prompts_evaluationrun_state_known",
                condition=Q(state__in=RunState.values),
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk}: {self.feature} on {self.deployment}"

    @property
    def verdict(self) -> Verdict | None:
        """How it ended; None if it has not, or not all cases were asked."""
        if self.state != RunState.FINISHED:
            return None
        return verdict_of(self.passed_cases, self.total_cases, self.bar)

    @property
    def is_stalled(self) -> bool:
        """Whether whoever carried it out has died."""
        return self.state == RunState.RUNNING and self.lease_until < timezone.now()

    def take_up(self, holder: str) -> bool:
        """Become the one who carries it out; False if it is over, or somebody else is.

        Args:
            holder: Made for this one attempt.
        """
        now = timezone.now()
        free = Q(state=RunState.QUEUED) | Q(state=RunState.RUNNING, lease_until__lt=now)
        taken = EvaluationRun.objects.filter(free, pk=self.pk).update(
            state=RunState.RUNNING,
            started_at=Coalesce("started_at", now),
            attempts=F("attempts") + 1,
            lease_holder=holder,
            lease_until=now + timedelta(seconds=LEASE_S),
        )
        self.refresh_from_db()
        return bool(taken)

    def renew_lease(self) -> bool:
        """Say that it is still carried out; False if it is not ours any more, or was cancelled."""
        until = timezone.now() + timedelta(seconds=LEASE_S)
        return bool(self._held().update(lease_until=until))

    def record(self, result: CaseResult, *, keeps_answer: bool) -> None:
        """Store how a case went, once, and count it; nothing if the run is not ours any more."""
        with transaction.atomic():
            if not self.renew_lease():
                return
            EvaluationResult.objects.bulk_create(
                [EvaluationResult.of(self, result, keeps_answer=keeps_answer)],
                ignore_conflicts=True,
            )
            self._count()

    def finish(self, state: RunState, reason: str = "") -> None:
        """End it, unless it was cancelled or taken over meanwhile."""
        self._held().update(state=state, reason=reason[:500], finished_at=timezone.now())
        self.refresh_from_db()

    def reopen(self, *, is_background: bool) -> bool:
        """Let it be carried out again; cases that got an answer keep it.

        Returns:
            False if it is finished, or somebody is carrying it out.
        """
        with transaction.atomic():
            under_way = Q(state=RunState.RUNNING, lease_until__gte=timezone.now())
            mine = EvaluationRun.objects.filter(pk=self.pk).unfinished().exclude(under_way)
            is_open = mine.update(
                state=RunState.QUEUED,
                reason="",
                attempts=0,
                finished_at=None,
                is_background=is_background,
                lease_until=timezone.now(),
            )
            if is_open:
                self.results.exclude(error="").delete()
                self._count()
        self.refresh_from_db()
        return bool(is_open)

    def passes_by_case(self) -> dict[str, bool]:
        """Return whether each case passed, by its id."""
        return dict(self.results.values_list("case_id", "is_passed"))

    def previous(self) -> "EvaluationRun | None":
        """Return the last finished run before it that asked the same, in the same way."""
        same = {
            name: getattr(self, name)
            for name in ("feature", "deployment_id", "suite", "suite_digest", "judge", "runs_code")
        }
        before = EvaluationRun.objects.filter(state=RunState.FINISHED, pk__lt=self.pk, **same)
        return before.order_by("-pk").first()

    def _held(self) -> EvaluationRunQuerySet:
        return EvaluationRun.objects.filter(
            pk=self.pk, state=RunState.RUNNING, lease_holder=self.lease_holder
        )

    def _count(self) -> None:
        self.done_cases = self.results.count()
        self.passed_cases = self.results.filter(is_passed=True).count()
        self.save(update_fields=["done_cases", "passed_cases"])


class EvaluationResult(models.Model):
    """How one case went."""

    run = models.ForeignKey(EvaluationRun, models.CASCADE, related_name="results")
    case_id = models.CharField(max_length=200)
    is_passed = models.BooleanField()
    score = models.FloatField(help_text="Share of its checks that passed, 0 to 1.")
    reasons = models.JSONField(help_text="What is wrong, by scorer.")
    skipped = models.JSONField(help_text="Scorers that did not look.")
    error = models.CharField(max_length=60, blank=True, help_text="Its code, without an answer.")
    took_ms = models.PositiveIntegerField(null=True, help_text="Null: no answer came.")
    answer = models.TextField(
        blank=True, help_text=f"Kept where that is allowed; {MAX_ANSWER_CHARS:,} characters."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["run", "case_id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "case_id"], name="prompts_evaluationresult_once_a_run"
            )
        ]

    def __str__(self) -> str:
        return f"{self.case_id}: {'passed' if self.is_passed else 'failed'}"

    @classmethod
    def of(
        cls, run: EvaluationRun, result: CaseResult, *, keeps_answer: bool
    ) -> "EvaluationResult":
        """Return the row of a result, not saved."""
        answer = result.answer
        text = answer.text[:MAX_ANSWER_CHARS] if answer and keeps_answer else ""
        return cls(
            run=run,
            case_id=result.case_id,
            is_passed=result.is_passed,
            score=result.score,
            reasons={
                item.scorer: _storable(item.problem) for item in result.outcomes if item.problem
            },
            skipped=[item.scorer for item in result.outcomes if item.is_skipped],
            error=result.error,
            took_ms=None if answer is None else max(0, round(answer.latency_s * 1000)),
            answer=_storable(text),
        )


def _storable(text: str) -> str:
    """Return what of a text every database takes: models write NUL, and halves of characters."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
