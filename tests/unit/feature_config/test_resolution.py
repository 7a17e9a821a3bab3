import pytest

from feature_config.catalogue import Feature
from feature_config.errors import DeploymentMissing, FeatureInactive, FeatureUnknown
from feature_config.resolution import FeatureRoute, resolve
from selfhosted_models.families import ModelFamily
from tests.factories import make_serving

GEMMA = make_serving(deployment="gemma")
SPARE = make_serving(deployment="spare", family=ModelFamily.CODEGEMMA_2B)
MISTRAL = make_serving(deployment="mistral", family=ModelFamily.MISTRAL_7B)
DEPLOYMENTS = {serving.deployment: serving for serving in (GEMMA, SPARE, MISTRAL)}


def test_deployments_answer_in_the_order_chosen() -> None:
    route = FeatureRoute(Feature.DUO_CHAT, ("mistral", "spare", "gemma"))

    assert resolve(route, DEPLOYMENTS) == (MISTRAL, SPARE, GEMMA)


def test_deployment_that_is_not_active_is_left_out() -> None:
    route = FeatureRoute(Feature.DUO_CHAT, ("gone", "gemma"))

    assert resolve(route, DEPLOYMENTS) == (GEMMA,)


def test_deployment_of_a_family_not_supported_never_answers() -> None:
    route = FeatureRoute(Feature.CODE_COMPLETIONS, ("mistral", "gemma"))

    assert resolve(route, DEPLOYMENTS) == (GEMMA,)


def test_inactive_feature_is_refused() -> None:
    route = FeatureRoute(Feature.DUO_CHAT, is_inactive=True)

    with pytest.raises(FeatureInactive, match="GitLab Duo Chat is inactive") as caught:
        resolve(route, DEPLOYMENTS)

    assert (caught.value.code, caught.value.retryable) == ("feature_inactive", False)


def test_inactive_wins_over_a_choice() -> None:
    route = FeatureRoute(Feature.DUO_CHAT, ("gemma",), is_inactive=True)

    with pytest.raises(FeatureInactive):
        resolve(route, DEPLOYMENTS)


def test_unassigned_feature_has_nothing_to_answer() -> None:
    with pytest.raises(DeploymentMissing, match="No model answers Code explanation") as caught:
        resolve(FeatureRoute(Feature.CODE_EXPLANATION), DEPLOYMENTS)

    assert caught.value.code == "deployment_missing"


def test_choice_of_which_none_can_answer_names_them() -> None:
    route = FeatureRoute(Feature.CODE_COMPLETIONS, ("gone", "mistral"))

    with pytest.raises(DeploymentMissing, match=r"\(gone, mistral\)") as caught:
        resolve(route, DEPLOYMENTS)

    assert caught.value.code == "deployment_missing"


def test_unknown_feature_is_named_briefly_with_those_there_are() -> None:
    error = FeatureUnknown("x" * 500, known=["duo_chat", "code_explanation"])

    assert "duo_chat, code_explanation" in error.safe_message
    assert len(error.safe_message) < 200
