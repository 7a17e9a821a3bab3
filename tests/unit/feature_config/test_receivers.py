import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from feature_config.catalogue import Feature
from feature_config.models import FeatureChoice, FeatureSetting
from feature_config.receivers import add_missing_settings
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_deployment

pytestmark = pytest.mark.django_db


def families_of_choices(deployment: ModelDeployment) -> set[str]:
    return set(deployment.choices.values_list("family", flat=True))


def test_missing_row_is_added_again() -> None:
    FeatureSetting.objects.filter(pk=Feature.DUO_CHAT).delete()

    add_missing_settings()

    assert FeatureSetting.objects.get(pk=Feature.DUO_CHAT).is_inactive is False


def test_rows_that_are_there_keep_their_choice() -> None:
    deployment = make_deployment()
    assign(Feature.DUO_CHAT, deployment)
    FeatureSetting.objects.get(pk=Feature.CODE_EXPLANATION).deactivate()

    add_missing_settings()

    assert FeatureSetting.objects.get(pk=Feature.CODE_EXPLANATION).is_inactive is True
    assert FeatureChoice.objects.get(setting=Feature.DUO_CHAT).deployment == deployment


def test_family_a_feature_refuses_is_an_error_of_the_field_that_names_the_feature() -> None:
    deployment = make_deployment()
    assign(Feature.CODE_COMPLETIONS, deployment)
    assign(Feature.VULNERABILITY_EXPLANATION, deployment)
    assign(Feature.DUO_CHAT, deployment)

    deployment.family = ModelFamily.MISTRAL_7B
    with pytest.raises(ValidationError) as caught:
        deployment.full_clean()

    (message,) = caught.value.message_dict["family"]
    assert "Code Completion, Vulnerability explanation" in message
    assert "does not support Mistral 7B" in message
    assert "Duo Chat" not in message


def test_saving_a_family_a_feature_refuses_changes_nothing() -> None:
    deployment = make_deployment(name="before")
    for feature in (Feature.CODE_COMPLETIONS, Feature.DUO_CHAT):
        assign(feature, deployment)

    deployment.family, deployment.name = ModelFamily.MIXTRAL_8X22B, "after"
    with pytest.raises(IntegrityError, match="feature_config_choice_no_"):
        deployment.save()

    stored = ModelDeployment.objects.get(pk=deployment.pk)
    assert (stored.name, stored.family) == ("before", ModelFamily.CODEGEMMA_7B_IT)
    assert families_of_choices(stored) == {ModelFamily.CODEGEMMA_7B_IT}


def test_update_of_the_family_of_a_deployment_in_use_cannot_make_a_refused_cell() -> None:
    deployment = make_deployment()
    assign(Feature.CODE_COMPLETIONS, deployment)

    with pytest.raises(IntegrityError):
        ModelDeployment.objects.filter(pk=deployment.pk).update(family=ModelFamily.MISTRAL_7B)


def test_family_every_feature_takes_is_copied_to_the_choices() -> None:
    deployment, other = make_deployment(), make_deployment()
    for feature in (Feature.CODE_COMPLETIONS, Feature.DUO_CHAT):
        assign(feature, deployment, other)

    deployment.family = ModelFamily.CODEGEMMA_2B
    deployment.full_clean()
    deployment.save()

    assert families_of_choices(deployment) == {ModelFamily.CODEGEMMA_2B}
    assert families_of_choices(other) == {ModelFamily.CODEGEMMA_7B_IT}


def test_unused_deployment_may_take_any_family() -> None:
    deployment = make_deployment()
    assign(Feature.CODE_COMPLETIONS, make_deployment())

    deployment.family = ModelFamily.MISTRAL_7B
    deployment.full_clean()
    deployment.save()

    assert ModelDeployment.objects.get(pk=deployment.pk).family == ModelFamily.MISTRAL_7B


def test_unknown_family_is_left_to_the_field() -> None:
    deployment = make_deployment()
    assign(Feature.CODE_COMPLETIONS, deployment)

    deployment.family = "bloom"
    with pytest.raises(ValidationError) as caught:
        deployment.full_clean()

    assert caught.value.message_dict == {"family": ["Value 'bloom' is not a valid choice."]}
