import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError

from feature_config.catalogue import Feature
from feature_config.models import MAX_CHOICES, FeatureChoice, FeatureSetting
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_deployment, setting_of

pytestmark = pytest.mark.django_db

REFUSED_CELLS = [
    (Feature.CODE_COMPLETIONS, ModelFamily.MISTRAL_7B),
    (Feature.CODE_COMPLETIONS, ModelFamily.MIXTRAL_8X7B_INSTRUCT),
    (Feature.CODE_COMPLETIONS, ModelFamily.MIXTRAL_8X22B),
    (Feature.VULNERABILITY_EXPLANATION, ModelFamily.MISTRAL_7B),
]
refused_cells = pytest.mark.parametrize(("feature", "family"), REFUSED_CELLS)


def chosen(feature: Feature) -> list[ModelDeployment]:
    """Return what answers `feature`, read afresh in the order of the places."""
    return [choice.deployment for choice in setting_of(feature).choices.order_by("position")]


def saved_cells() -> set[tuple[str, str]]:
    """Return the cells in use, by the family the deployment really has."""
    return set(FeatureChoice.objects.values_list("setting_id", "deployment__family"))


def insert_choice(feature: Feature, deployment: ModelDeployment, *, family: str) -> None:
    """Insert a choice as a careless script would, in SQL of its own."""
    key = deployment.pk.hex if connection.vendor == "sqlite" else deployment.pk
    sql = (
        "INSERT INTO feature_config_featurechoice (setting_id, position, deployment_id, family)"
        " VALUES (%s, 0, %s, %s)"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [feature.value, key, family])


def test_each_feature_has_its_row_after_migrate() -> None:
    rows = FeatureSetting.objects.values_list("feature", "is_inactive")

    assert sorted(rows) == sorted((feature.value, False) for feature in Feature)


def test_setting_of_an_unknown_feature_is_refused_by_the_database() -> None:
    with pytest.raises(IntegrityError, match="feature_known"):
        FeatureSetting.objects.create(feature="mind_reading")


def test_assigned_deployments_keep_their_order() -> None:
    third, first, second = (make_deployment() for _ in range(3))

    assign(Feature.DUO_CHAT, first, second, third)

    assert chosen(Feature.DUO_CHAT) == [first, second, third]


def test_assigning_again_replaces_what_was_chosen() -> None:
    old, new = make_deployment(), make_deployment()
    assign(Feature.DUO_CHAT, old, new)

    assign(Feature.DUO_CHAT, new)

    assert chosen(Feature.DUO_CHAT) == [new]


def test_assigning_leaves_other_features_alone() -> None:
    deployment = make_deployment()
    assign(Feature.CODE_EXPLANATION, deployment)

    assign(Feature.DUO_CHAT, make_deployment())

    assert chosen(Feature.CODE_EXPLANATION) == [deployment]


def test_assigning_nothing_leaves_the_feature_unassigned() -> None:
    assign(Feature.DUO_CHAT, make_deployment())

    assign(Feature.DUO_CHAT)

    assert chosen(Feature.DUO_CHAT) == []
    assert setting_of(Feature.DUO_CHAT).is_inactive is False


def test_deactivated_feature_has_no_choice() -> None:
    setting = assign(Feature.DUO_CHAT, make_deployment())

    setting.deactivate()

    assert setting_of(Feature.DUO_CHAT).is_inactive is True
    assert chosen(Feature.DUO_CHAT) == []


def test_assigning_ends_inactive() -> None:
    deployment = make_deployment()
    setting_of(Feature.DUO_CHAT).deactivate()

    assign(Feature.DUO_CHAT, deployment)

    assert setting_of(Feature.DUO_CHAT).is_inactive is False
    assert chosen(Feature.DUO_CHAT) == [deployment]


def test_assigning_one_deployment_twice_is_refused_and_changes_nothing() -> None:
    before, deployment = make_deployment(), make_deployment()
    assign(Feature.DUO_CHAT, before)

    with pytest.raises(ValidationError, match="named twice"):
        assign(Feature.DUO_CHAT, deployment, deployment)

    assert chosen(Feature.DUO_CHAT) == [before]


def test_the_longest_list_is_accepted_and_one_more_refused() -> None:
    deployments = [make_deployment() for _ in range(MAX_CHOICES + 1)]
    assign(Feature.DUO_CHAT, *deployments[:MAX_CHOICES])

    with pytest.raises(ValidationError, match=f"At most {MAX_CHOICES}"):
        assign(Feature.DUO_CHAT, *deployments)

    assert chosen(Feature.DUO_CHAT) == deployments[:MAX_CHOICES]


def test_every_cell_that_is_not_refused_can_be_saved() -> None:
    deployments = [make_deployment(family=family) for family in ModelFamily]

    for feature in Feature:
        takes = [item for item in deployments if (feature, item.family) not in REFUSED_CELLS]
        assign(feature, *takes)

    assert len(saved_cells()) == 16 * 6 - len(REFUSED_CELLS)


@refused_cells
def test_assigning_a_refused_cell_says_why_and_changes_nothing(
    feature: Feature, family: ModelFamily
) -> None:
    before, refused = make_deployment(), make_deployment(family=family, name="wrong-one")
    assign(feature, before)

    with pytest.raises(ValidationError, match="does not support .* wrong-one") as caught:
        assign(feature, before, refused)

    assert caught.value.error_dict["deployments"][0].code == "not_supported"
    assert chosen(feature) == [before]


@refused_cells
def test_full_clean_refuses_a_refused_cell(feature: Feature, family: ModelFamily) -> None:
    deployment = make_deployment(family=family)
    choice = FeatureChoice(setting=setting_of(feature), position=0, deployment=deployment)

    with pytest.raises(ValidationError, match="does not support"):
        choice.full_clean(exclude=["family"])


@refused_cells
def test_save_of_a_refused_cell_is_refused_by_the_database(
    feature: Feature, family: ModelFamily
) -> None:
    deployment = make_deployment(family=family)
    choice = FeatureChoice(setting=setting_of(feature), position=0, deployment=deployment)

    with pytest.raises(IntegrityError, match="feature_config_choice_no_"), transaction.atomic():
        choice.save()

    assert saved_cells() == set()


@refused_cells
def test_save_copies_the_true_family_over_a_false_one(
    feature: Feature, family: ModelFamily
) -> None:
    deployment = make_deployment(family=family)

    with pytest.raises(IntegrityError, match="feature_config_choice_no_"), transaction.atomic():
        FeatureChoice.objects.create(
            setting=setting_of(feature), position=0, deployment=deployment, family="general"
        )

    assert saved_cells() == set()


@refused_cells
def test_bulk_create_of_a_refused_cell_is_refused_by_the_database(
    feature: Feature, family: ModelFamily
) -> None:
    deployment = make_deployment(family=family)
    choice = FeatureChoice(
        setting=setting_of(feature), position=0, deployment=deployment, family=family
    )

    with pytest.raises(IntegrityError, match="feature_config_choice_no_"), transaction.atomic():
        FeatureChoice.objects.bulk_create([choice])

    assert saved_cells() == set()


def test_bulk_create_of_a_refused_cell_that_leaves_the_family_out_is_refused() -> None:
    deployment = make_deployment(family=ModelFamily.MISTRAL_7B)
    setting = setting_of(Feature.CODE_COMPLETIONS)
    choice = FeatureChoice(setting=setting, position=0, deployment=deployment)

    with pytest.raises(IntegrityError), transaction.atomic():
        FeatureChoice.objects.bulk_create([choice])

    assert saved_cells() == set()


def test_bulk_create_of_a_refused_cell_under_another_family_is_refused() -> None:
    deployment = make_deployment(family=ModelFamily.MISTRAL_7B)
    setting = setting_of(Feature.CODE_COMPLETIONS)
    choice = FeatureChoice(setting=setting, position=0, deployment=deployment, family="general")

    with pytest.raises(IntegrityError), transaction.atomic():
        FeatureChoice.objects.bulk_create([choice])

    assert saved_cells() == set()


@refused_cells
def test_update_of_the_family_to_a_refused_cell_is_refused_by_the_database(
    feature: Feature, family: ModelFamily
) -> None:
    assign(feature, make_deployment())

    with pytest.raises(IntegrityError, match="feature_config_choice_no_"), transaction.atomic():
        FeatureChoice.objects.update(family=family)


@refused_cells
def test_update_of_the_feature_to_a_refused_cell_is_refused_by_the_database(
    feature: Feature, family: ModelFamily
) -> None:
    assign(Feature.DUO_CHAT, make_deployment(family=family))

    with pytest.raises(IntegrityError, match="feature_config_choice_no_"), transaction.atomic():
        FeatureChoice.objects.update(setting=feature)

    assert saved_cells() == {(Feature.DUO_CHAT, family)}


def test_update_of_the_deployment_to_a_refused_cell_is_refused() -> None:
    assign(Feature.CODE_COMPLETIONS, make_deployment())
    refused = make_deployment(family=ModelFamily.MISTRAL_7B)

    with pytest.raises(IntegrityError), transaction.atomic():
        FeatureChoice.objects.update(deployment=refused)

    assert (Feature.CODE_COMPLETIONS, ModelFamily.MISTRAL_7B) not in saved_cells()


@refused_cells
def test_sql_that_inserts_a_refused_cell_is_refused_by_the_database(
    feature: Feature, family: ModelFamily
) -> None:
    deployment = make_deployment(family=family)

    with pytest.raises(IntegrityError, match="feature_config_choice_no_"), transaction.atomic():
        insert_choice(feature, deployment, family=family)

    assert saved_cells() == set()


def test_sql_that_inserts_a_refused_cell_without_its_family_is_refused() -> None:
    deployment = make_deployment(family=ModelFamily.MISTRAL_7B)

    with pytest.raises(IntegrityError), transaction.atomic():
        insert_choice(Feature.CODE_COMPLETIONS, deployment, family="")

    assert saved_cells() == set()


def test_assigning_a_deployment_whose_family_changed_meanwhile_is_refused() -> None:
    deployment = make_deployment()
    stale = ModelDeployment.objects.get(pk=deployment.pk)
    deployment.family = ModelFamily.MISTRAL_7B
    deployment.save()

    with pytest.raises((ValidationError, IntegrityError)), transaction.atomic():
        assign(Feature.CODE_COMPLETIONS, stale)

    assert saved_cells() == set()


def test_a_place_in_the_list_is_taken_once() -> None:
    setting = assign(Feature.DUO_CHAT, make_deployment())

    with pytest.raises(IntegrityError), transaction.atomic():
        FeatureChoice.objects.create(setting=setting, position=0, deployment=make_deployment())


def test_a_deployment_is_in_the_list_once() -> None:
    deployment = make_deployment()
    setting = assign(Feature.DUO_CHAT, deployment)

    with pytest.raises(IntegrityError), transaction.atomic():
        FeatureChoice.objects.create(setting=setting, position=1, deployment=deployment)


def test_deployment_in_use_cannot_be_deleted() -> None:
    deployment = make_deployment()
    assign(Feature.DUO_CHAT, make_deployment(), deployment)

    with pytest.raises(ProtectedError):
        deployment.delete()

    assert deployment in chosen(Feature.DUO_CHAT)


def test_deployment_no_longer_in_use_can_be_deleted() -> None:
    deployment = make_deployment()
    assign(Feature.DUO_CHAT, deployment).deactivate()

    deployment.delete()

    assert not ModelDeployment.objects.exists()
