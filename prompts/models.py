"""What evaluations were run, and how each case went."""

from typing import ClassVar
from uuid import uuid4

from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from feature_config.catalogue import Feature
from feature_config.models import feature_choices
from prompts.evaluation.suite import CaseResult
from prompts.evaluation.verdict import Verdict, verdict_of
from selfhosted_models.background_runs import BackgroundRun, BackgroundRunQuerySet, RunState
from selfhosted_models.errors import EndpointRefused
from selfhosted_models.models import Fingerprint, ModelDeployment
from selfhosted_models.probing.fingerprint import differences

#: Of an answer that is kept.
MAX_ANSWER_CHARS = 8_000


class EvaluationRunQuerySet(BackgroundRunQuerySet["EvaluationRun"]):
    """Evaluations."""

    def asking_the_same(self, run: "EvaluationRun") -> "EvaluationRunQuerySet":
        """Return those that ask the same cases of the same deployment, in the same way."""
        same = {
            name: getattr(run, name)
            for name in ("feature", "deployment_id", "suite", "suite_digest", "judge", "runs_code")
        }
        return self.filter(**same)

    def with_passes(self) -> "EvaluationRunQuerySet":
        """Load what `passes_by_case` returns, in one query for all runs."""
        passes = EvaluationResult.objects.only("run", "case_id", "is_passed")
        return self.prefetch_related(models.Prefetch("results", passes))


class EvaluationRun(BackgroundRun):
    """One suite, asked of one deployment."""

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
    subject = models.CharField(
        max_length=32, blank=True, help_text="Digest of which server and model was asked."
    )
    fingerprint_digest = models.CharField(
        max_length=64, blank=True, help_text="Of what that server is; empty: not measured yet."
    )
    fingerprint_facts = models.JSONField(
        default=dict, help_text="What it was measured to be, by trait; empty: not measured yet."
    )
    judge = models.CharField(max_length=100, blank=True, help_text="Deployment that judged.")
    runs_code = models.BooleanField(default=False, help_text="What the model wrote was run.")
    total_cases = models.PositiveIntegerField()
    done_cases = models.PositiveIntegerField(default=0)
    passed_cases = models.PositiveIntegerField(default=0)

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

    def asked_server(self, measured: Fingerprint | None) -> bool:
        """Tell whether its deployment is still the server that was asked.

        Args:
            measured: The newest fingerprint of the deployment. Only what was measured both then
                and now can differ: a fuller measurement of the same server is no change.
        """
        try:
            subject = self.deployment.measured_subject
        except EndpointRefused:  # a row no form has checked
            return False
        if self.subject and self.subject != subject:
            return False
        if measured is None or measured.subject != subject:
            return True
        return not differences(self.fingerprint_facts, measured.facts)

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
        return {result.case_id: result.is_passed for result in self.results.all()}

    def previous(self) -> "EvaluationRun | None":
        """Return the last finished run before it that asked the same, in the same way."""
        same = EvaluationRun.objects.asking_the_same(self)
        return same.filter(state=RunState.FINISHED, pk__lt=self.pk).order_by("-pk").first()

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
