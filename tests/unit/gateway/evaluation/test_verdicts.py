"""What stored runs say of the cells of the matrix, and of each other."""

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from feature_config.catalogue import Feature
from feature_config.models import FeatureSetting
from gateway.evaluation.verdicts import comparison_with_previous, current_verdicts
from selfhosted_models.background_runs import RunState
from selfhosted_models.models import ModelDeployment
from tests.factories import make_deployment, make_fingerprint, make_run

pytestmark = pytest.mark.django_db

GIT = Feature.GIT_SUGGESTIONS


def test_cell_has_the_verdict_of_its_newest_run_in_two_queries(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    one, other = make_deployment(), make_deployment()
    make_run(one, "---")
    newest = make_run(one, "++-")
    make_run(one, "+++", state=RunState.CANCELLED)
    make_run(other, "---")

    with django_assert_num_queries(2):
        verdicts = current_verdicts()

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

    assert current_verdicts()[GIT, deployment.pk].is_expired


def test_verdict_expires_when_another_version_is_pinned() -> None:
    deployment = make_deployment()
    make_run(deployment)
    FeatureSetting.objects.filter(pk=GIT).update(prompt_version="^9.0.0")

    assert current_verdicts()[GIT, deployment.pk].is_expired


@pytest.mark.parametrize(
    ("then", "now", "is_expired"),
    [
        ({"context": 8192}, {"context": 8192}, False),
        ({"context": 8192}, {"context": 4096}, True),
        ({}, {"context": 8192}, False),
        ({"context": 8192}, {}, False),
        ({"chat": True}, {"chat": True, "context": 8192}, False),
        ({"chat": True}, {"chat": False, "context": 8192}, True),
    ],
)
def test_verdict_expires_with_what_the_model_server_is_measured_to_be(
    then: dict[str, int], now: dict[str, int], is_expired: bool
) -> None:
    deployment = make_deployment()
    make_run(deployment, subject=deployment.measured_subject, fingerprint_facts=then)
    if now:
        make_fingerprint(deployment, **now)

    assert current_verdicts()[GIT, deployment.pk].is_expired is is_expired


@pytest.mark.parametrize(
    "change", [{"endpoints": ["http://10.0.4.99:8000/v1"]}, {"model_identifier": "another"}]
)
def test_verdict_expires_with_the_server_the_admin_chose(change: dict[str, Any]) -> None:
    deployment = make_deployment()
    make_fingerprint(deployment, context=8192)
    make_run(deployment, subject=deployment.measured_subject, fingerprint_facts={"context": 8192})

    ModelDeployment.objects.update(**change)

    assert current_verdicts()[GIT, deployment.pk].is_expired


def test_trial_of_another_prompt_does_not_hide_the_verdict() -> None:
    deployment = make_deployment()
    valid = make_run(deployment)
    make_run(deployment, prompt_digest="that of a candidate")

    cell = current_verdicts()[GIT, deployment.pk]

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
