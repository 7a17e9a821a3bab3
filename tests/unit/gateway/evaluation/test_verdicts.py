"""What stored runs say of the cells of the matrix, and of each other."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from feature_config.catalogue import Feature
from feature_config.models import FeatureSetting
from gateway.evaluation.verdicts import comparison_with_previous, latest_verdicts
from prompts.evaluation.suite import CaseResult, GivenAnswer, Outcome
from prompts.loader import shipped_prompts
from prompts.models import EvaluationRun
from selfhosted_models.background_runs import RunState
from selfhosted_models.models import ModelDeployment
from tests.factories import make_deployment

pytestmark = pytest.mark.django_db

REGISTRY = shipped_prompts().registry
GIT = Feature.GIT_SUGGESTIONS
CURRENT = REGISTRY.find(GIT, ["codegemma-7b-it"])


def make_run(deployment: ModelDeployment, cases: str = "++-", **fields: Any) -> EvaluationRun:
    """Return a finished run; of its cases, those that are `+` passed."""
    ended_at = timezone.now() + timedelta(seconds=EvaluationRun.objects.count())
    defaults = {
        "feature": GIT,
        "suite": "git_suggestions",
        "suite_version": "1.0.0",
        "suite_digest": "abc",
        "bar": 0.5,
        "prompt_variant": CURRENT.variant,
        "prompt_version": CURRENT.version,
        "prompt_digest": CURRENT.digest,
        "state": RunState.FINISHED,
        "started_by": "dana",
        "finished_at": ended_at,
    }
    run = EvaluationRun.objects.create(
        deployment=deployment,
        total_cases=len(cases),
        done_cases=len(cases),
        passed_cases=cases.count("+"),
        **{**defaults, **fields},
    )
    for number, sign in enumerate(cases):
        problem = "" if sign == "+" else "is wrong"
        outcomes = (Outcome("mentions", problem),)
        result = CaseResult(f"case-{number}", GivenAnswer("x", latency_s=0.2), outcomes)
        run.results.model.of(run, result, keeps_answer=False).save()
    return run


def test_cell_has_the_verdict_of_its_newest_run_in_one_query(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    one, other = make_deployment(), make_deployment()
    make_run(one, "---")
    newest = make_run(one, "++-")
    make_run(one, "+++", state=RunState.CANCELLED)
    make_run(other, "---")

    with django_assert_num_queries(1):
        verdicts = latest_verdicts(REGISTRY)

    assert set(verdicts) == {(GIT, one.pk), (GIT, other.pk)}
    cell = verdicts[GIT, one.pk]
    assert cell.run == newest
    assert cell.run.deployment.name == one.name
    assert (cell.verdict.passed, cell.verdict.total, cell.verdict.is_pass) == (2, 3, True)
    assert not cell.is_expired
    assert not verdicts[GIT, other.pk].verdict.is_pass


def test_verdict_expires_with_the_prompt() -> None:
    deployment = make_deployment()
    make_run(deployment, prompt_digest="that of an older prompt")

    assert latest_verdicts(REGISTRY)[GIT, deployment.pk].is_expired


def test_verdict_expires_when_another_version_is_pinned() -> None:
    deployment = make_deployment()
    make_run(deployment)
    FeatureSetting.objects.filter(pk=GIT).update(prompt_version="^9.0.0")

    assert latest_verdicts(REGISTRY)[GIT, deployment.pk].is_expired


@pytest.mark.parametrize(
    ("then", "now", "is_expired"),
    [("aa", "aa", False), ("aa", "bb", True), ("", "bb", False), ("aa", "", False)],
)
def test_verdict_expires_with_the_model_server(then: str, now: str, is_expired: bool) -> None:
    deployment = make_deployment()
    make_run(deployment, fingerprint_digest=then)

    verdicts = latest_verdicts(REGISTRY, {deployment.pk: now})

    assert verdicts[GIT, deployment.pk].is_expired is is_expired


def test_trial_of_another_prompt_does_not_hide_the_verdict() -> None:
    deployment = make_deployment()
    valid = make_run(deployment)
    make_run(deployment, prompt_digest="that of a candidate")

    cell = latest_verdicts(REGISTRY)[GIT, deployment.pk]

    assert (cell.run, cell.is_expired) == (valid, False)


def test_run_is_compared_with_the_last_that_asked_the_same() -> None:
    deployment = make_deployment()
    before = make_run(deployment, "++--")
    make_run(deployment, "++++", suite_digest="another suite")
    make_run(make_deployment(), "++++")
    run = make_run(deployment, "+-+-")

    compared = comparison_with_previous(run)

    assert compared is not None
    assert compared[0] == before
    assert (compared[1].regressions, compared[1].gains) == (("case-1",), ("case-2",))
    assert comparison_with_previous(before) is None


def test_clear_loss_is_a_regression() -> None:
    deployment = make_deployment()
    make_run(deployment, "+" * 12)
    worse = make_run(deployment, "+" * 3 + "-" * 9)

    compared = comparison_with_previous(worse)

    assert compared is not None
    assert compared[1].is_regression
