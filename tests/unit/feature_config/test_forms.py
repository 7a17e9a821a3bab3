import re
from typing import Any

import pytest

from feature_config.catalogue import Feature
from feature_config.forms import FeatureRowForm, FeatureSettingForm
from feature_config.models import MAX_CHOICES
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_deployment, setting_of

pytestmark = pytest.mark.django_db


def form_of(feature: Feature, **data: Any) -> FeatureSettingForm:
    """Return the form as opened, or as sent with `data`."""
    return FeatureSettingForm(data or None, instance=setting_of(feature))


def options(form: FeatureSettingForm, field: str = "answered_by") -> dict[str, str]:
    """Return the options of a drop-down: value to words."""
    field_object: Any = form.fields[field]
    return {str(value): words for value, words in field_object.choices}


def key(deployment: ModelDeployment) -> str:
    return str(deployment.pk)


def chosen(feature: Feature) -> list[ModelDeployment]:
    return [choice.deployment for choice in setting_of(feature).choices.all()]


def test_options_are_the_usable_deployments_with_inactive_and_unassigned() -> None:
    gemma = make_deployment(name="gemma")
    small = make_deployment(name="small", family=ModelFamily.CODEGEMMA_2B)
    other = make_deployment(name="other", family=ModelFamily.GENERAL)
    make_deployment(name="mistral", family=ModelFamily.MISTRAL_7B)
    make_deployment(name="off", is_active=False)

    offered = options(form_of(Feature.CODE_COMPLETIONS))

    assert offered == {
        "": "Unassigned: no choice yet",
        "inactive": "Inactive: refused to everyone",
        key(gemma): "gemma (CodeGemma 7B IT: supported)",
        key(small): "small (CodeGemma 2B: supported)",
        key(other): "other (General (OpenAI-compatible): not on the supported list)",
    }


def test_option_says_that_a_cell_is_to_be_evaluated() -> None:
    deployment = make_deployment(name="gemma")

    offered = options(form_of(Feature.DUO_CHAT))

    assert offered[key(deployment)] == "gemma (CodeGemma 7B IT: to be evaluated)"


def test_without_deployments_only_inactive_and_unassigned_are_offered() -> None:
    form = form_of(Feature.DUO_CHAT)

    assert list(options(form)) == ["", "inactive"]
    assert list(form.fields) == ["answered_by", "prompt_version"]


def test_deactivated_deployment_stays_visible_where_it_is_chosen() -> None:
    deployment = make_deployment()
    assign(Feature.DUO_CHAT, deployment)
    deployment.is_active = False
    deployment.save()

    assert key(deployment) in options(form_of(Feature.DUO_CHAT))
    assert key(deployment) not in options(form_of(Feature.CODE_EXPLANATION))


def test_there_is_a_fallback_for_each_further_deployment() -> None:
    for _ in range(3):
        make_deployment()

    form = form_of(Feature.DUO_CHAT)

    assert list(form.fields) == ["answered_by", "fallback_1", "fallback_2", "prompt_version"]
    assert "inactive" not in options(form, "fallback_1")


def test_there_are_never_more_places_than_choices_allowed() -> None:
    made = [make_deployment() for _ in range(MAX_CHOICES + 2)]
    assign(Feature.DUO_CHAT, *made[:MAX_CHOICES])

    assert len(form_of(Feature.DUO_CHAT).fields) == MAX_CHOICES + 1  # the prompt's version


def test_three_fallbacks_are_enough_to_begin_with() -> None:
    for _ in range(MAX_CHOICES):
        make_deployment()

    assert len(form_of(Feature.DUO_CHAT).fields) == 5  # with the prompt's version


def test_what_cannot_be_chosen_is_greyed_out_with_the_reason() -> None:
    make_deployment(name="mine", family=ModelFamily.MISTRAL_7B)
    make_deployment(name="off", is_active=False)

    html = str(form_of(Feature.CODE_COMPLETIONS)["answered_by"])

    greyed = re.findall(r"<option [^>]*disabled[^>]*>(.*?)</option>", html)
    assert greyed == ["mine (Mistral 7B is not supported here)", "off (inactive)"]


def test_row_keeps_the_version_of_the_prompt_and_judges_by_it() -> None:
    fitting, setting = make_deployment(), setting_of(Feature.DUO_CHAT)
    setting.prompt_version = "~1.0"
    setting.save()

    row = FeatureRowForm({"answered_by": key(fitting)}, instance=setting_of(Feature.DUO_CHAT))
    assert row.is_valid(), row.errors
    row.apply()
    kept = setting_of(Feature.DUO_CHAT)
    kept.prompt_version = "^9.0"
    refused = FeatureRowForm({"answered_by": key(fitting)}, instance=kept)

    assert setting_of(Feature.DUO_CHAT).prompt_version == "~1.0"
    assert "satisfies '^9.0'" in refused.non_field_errors()[0]


def test_inactive_wins_over_what_stands_below_it() -> None:
    make_deployment()
    fallback = make_deployment()

    form = form_of(Feature.DUO_CHAT, answered_by="inactive", fallback_1=key(fallback))

    assert form.is_valid()
    form.apply()
    assert setting_of(Feature.DUO_CHAT).is_inactive


def test_form_opens_on_the_choice_that_is_stored() -> None:
    first, second = make_deployment(), make_deployment()
    assign(Feature.DUO_CHAT, second, first)

    fields = form_of(Feature.DUO_CHAT).fields

    assert fields["answered_by"].initial == key(second)
    assert fields["fallback_1"].initial == key(first)


@pytest.mark.parametrize(("is_inactive", "opens_on"), [(True, "inactive"), (False, "")])
def test_form_without_a_choice_opens_on_its_state(*, is_inactive: bool, opens_on: str) -> None:
    make_deployment()
    if is_inactive:
        setting_of(Feature.DUO_CHAT).deactivate()

    assert form_of(Feature.DUO_CHAT).fields["answered_by"].initial == opens_on


def test_saving_stores_the_choice_in_order() -> None:
    first, second, third = (make_deployment() for _ in range(3))
    form = form_of(
        Feature.DUO_CHAT, answered_by=key(third), fallback_1=key(first), fallback_2=key(second)
    )

    assert form.is_valid(), form.errors
    form.apply()

    assert chosen(Feature.DUO_CHAT) == [third, first, second]


def test_an_empty_place_between_two_fallbacks_is_passed_over() -> None:
    first, _, third = (make_deployment() for _ in range(3))
    form = form_of(Feature.DUO_CHAT, answered_by=key(first), fallback_1="", fallback_2=key(third))

    assert form.is_valid(), form.errors
    form.apply()

    assert chosen(Feature.DUO_CHAT) == [first, third]


def test_choosing_inactive_stores_it() -> None:
    assign(Feature.DUO_CHAT, make_deployment())
    form = form_of(Feature.DUO_CHAT, answered_by="inactive")

    assert form.is_valid(), form.errors
    form.apply()

    assert setting_of(Feature.DUO_CHAT).is_inactive is True
    assert chosen(Feature.DUO_CHAT) == []


def test_choosing_unassigned_takes_the_choice_away() -> None:
    assign(Feature.DUO_CHAT, make_deployment())
    form = form_of(Feature.DUO_CHAT, answered_by="")

    assert form.is_valid(), form.errors
    form.apply()

    assert setting_of(Feature.DUO_CHAT).is_inactive is False
    assert chosen(Feature.DUO_CHAT) == []


def test_saving_stores_the_version_of_the_prompt_with_the_choice() -> None:
    deployment = make_deployment()
    form = form_of(Feature.DUO_CHAT, answered_by=key(deployment), prompt_version=" ~1.0 ")

    assert form.is_valid(), form.errors
    form.apply()

    assert setting_of(Feature.DUO_CHAT).prompt_version == "~1.0"
    assert chosen(Feature.DUO_CHAT) == [deployment]


def test_inactive_keeps_the_version() -> None:
    form = form_of(Feature.DUO_CHAT, answered_by="inactive", prompt_version="1.0.0")

    assert form.is_valid(), form.errors
    form.apply()

    assert setting_of(Feature.DUO_CHAT).prompt_version == "1.0.0"


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("^7.0.0", "No version of prompt 'duo_chat' for codegemma-7b-it satisfies '^7.0.0'."),
        ("newest", "'newest' is not a version constraint."),
        ("1" * 65, "at most 64 characters"),
    ],
)
def test_version_that_the_choice_has_not_is_refused(version: str, told: str) -> None:
    deployment = make_deployment()

    form = form_of(Feature.DUO_CHAT, answered_by=key(deployment), prompt_version=version)

    assert list(form.errors) == ["prompt_version"]
    assert told in form.errors["prompt_version"][0]


def test_version_is_looked_for_without_a_choice_too() -> None:
    assert form_of(Feature.DUO_CHAT, prompt_version="1.0.0").is_valid()
    assert not form_of(Feature.DUO_CHAT, prompt_version="9.0.0").is_valid()


@pytest.mark.parametrize("first", [""])
def test_fallback_without_a_first_choice_is_refused(first: str) -> None:
    make_deployment()
    fallback = make_deployment()

    form = form_of(Feature.DUO_CHAT, answered_by=first, fallback_1=key(fallback))

    assert form.non_field_errors() == [
        "A fallback needs a first choice: choose it under Answered by, or set each fallback to "
        "Nothing."
    ]


def test_deployment_named_twice_is_refused() -> None:
    deployment, _ = make_deployment(), make_deployment()

    form = form_of(Feature.DUO_CHAT, answered_by=key(deployment), fallback_1=key(deployment))

    assert form.non_field_errors() == ["A deployment is named twice: name each once."]


@pytest.mark.parametrize("place", ["answered_by", "fallback_1"])
@pytest.mark.parametrize("overrides", [{"family": "mistral-7b"}, {"is_active": False}])
def test_deployment_that_is_not_offered_is_refused_in_every_place(
    place: str, overrides: dict[str, Any]
) -> None:
    first, _ = make_deployment(), make_deployment()
    hidden = make_deployment(**overrides)

    form = form_of(Feature.CODE_COMPLETIONS, **{"answered_by": key(first), place: key(hidden)})

    assert list(form.errors) == [place]
