"""What finished runs say: of each cell of the matrix, and of one run beside another."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import F, OuterRef, Subquery, Window
from django.db.models.functions import RowNumber

from feature_config.catalogue import Feature
from feature_config.models import FeatureSetting
from gateway.evaluation.errors import EvaluationRefused
from prompts.errors import PromptError
from prompts.evaluation.verdict import Comparison, Verdict, compare
from prompts.loader import shipped_prompts
from prompts.models import EvaluationRun
from prompts.registry import PromptRegistry, variants_for
from selfhosted_models.background_runs import RunState
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import Fingerprint


@dataclass(frozen=True, slots=True)
class CellVerdict:
    """What the newest run says of a deployment that answers a feature.

    Attributes:
        run: When it was, with which suite and prompt; its deployment is loaded.
        is_expired: Prompt or model server are others than those that were evaluated.
    """

    run: EvaluationRun
    verdict: Verdict
    is_expired: bool

    @property
    def words(self) -> str:
        """Return it for people, as in `failed on 2026-05-01`."""
        outcome = "passed" if self.verdict.is_pass else "failed"
        ended = f" on {self.run.finished_at:%Y-%m-%d}" if self.run.finished_at else ""
        return f"{outcome}{ended}{', expired' if self.is_expired else ''}"


def current_verdicts() -> dict[tuple[Feature, UUID], CellVerdict]:
    """Return a verdict for each feature and deployment that was evaluated; two queries.

    A run of the prompt that is in use wins over a newer one of another version.
    """
    registry = shipped_prompts().registry
    measured = Fingerprint.objects.newest().by_deployment()
    newest = Window(
        RowNumber(),
        partition_by=[F("feature"), F("deployment_id"), F("prompt_digest")],
        order_by=F("finished_at").desc(),
    )
    pin = FeatureSetting.objects.filter(pk=OuterRef("feature")).values("prompt_version")
    runs = (
        EvaluationRun.objects.filter(state=RunState.FINISHED)
        .select_related("deployment")
        .annotate(recency=newest, pinned_version=Subquery(pin))
        .filter(recency=1)
        .order_by("-finished_at")
    )
    verdicts: dict[tuple[Feature, UUID], CellVerdict] = {}
    for run in runs:
        if (verdict := run.verdict) is None:
            continue
        key = (Feature(run.feature), run.deployment_id)
        pin_now = run.pinned_version or ""  # type: ignore[attr-defined]  # an annotation
        is_expired = not (
            _is_in_use(run, pin_now, registry) and run.asked_server(measured.get(run.deployment_id))
        )
        if key not in verdicts or (verdicts[key].is_expired and not is_expired):
            verdicts[key] = CellVerdict(run, verdict, is_expired)
    return verdicts


def _is_in_use(run: EvaluationRun, pin: str, registry: PromptRegistry) -> bool:
    """Tell whether the prompt of `run` is the one a request would get now."""
    variants = variants_for(ModelFamily(run.deployment.family), None)
    try:
        return registry.find(run.feature, variants, None, pin).digest == run.prompt_digest
    except PromptError:
        return False


def comparison_with_previous(run: EvaluationRun) -> tuple[EvaluationRun, Comparison] | None:
    """Return the last run that asked the same, and what changed since; None for a first one."""
    before = run.previous()
    if before is None:
        return None
    return before, compare(before.passes_by_case(), run.passes_by_case())


def compare_runs(first: EvaluationRun, second: EvaluationRun) -> Comparison:
    """Compare two runs case by case, the second with the first.

    Raises:
        EvaluationRefused: One has no verdict, or they were not asked the same cases.
    """
    for run in (first, second):
        if run.verdict is None:
            raise EvaluationRefused(f"Run {run.pk} is not finished: compare it once it is.")
    if (first.feature, first.suite_digest) != (second.feature, second.suite_digest):
        raise EvaluationRefused(
            f"Runs {first.pk} and {second.pk} were asked other cases: compare two runs of the same "
            "suite, in the same version."
        )
    return compare(first.passes_by_case(), second.passes_by_case())
