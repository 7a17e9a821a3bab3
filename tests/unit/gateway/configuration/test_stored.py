from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from feature_config.catalogue import Feature
from feature_config.models import FeatureSetting
from feature_config.resolution import FeatureRoute
from gateway.configuration.stored import (
    StoredConfiguration,
    entry_of,
    fill_row,
    read_configuration,
)
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import ModelDeployment
from tests.factories import (
    assign,
    build_deployment,
    make_deployment,
    make_fingerprint,
    setting_of,
)

CHANGES: dict[str, Any] = {
    "name": "renamed",
    "family": ModelFamily.CODEGEMMA_2B,
    "serving_format": "openai_text",
    "endpoints": ["http://10.0.4.12:8000/v1"],
    "model_identifier": "another-model",
    "context_tokens": 8192,
    "max_in_flight": 8,
    "first_token_timeout_s": 3.0,
    "idle_timeout_s": 4.0,
    "total_timeout_s": 50.0,
    "is_active": False,
}
KEY_COLUMNS = {"api_key_fingerprint", "api_key_env", "api_key_file"}


def configuration(
    *deployments: ModelDeployment, routes: dict[Feature, FeatureRoute] | None = None
) -> StoredConfiguration:
    every = {feature: FeatureRoute(feature) for feature in Feature}
    return StoredConfiguration(deployments, every | (routes or {}))


def version(stored: StoredConfiguration) -> str:
    return stored.document().digest()


# --- The version ---------------------------------------------------------------------------------


@pytest.mark.parametrize("field", CHANGES)
def test_version_changes_with_every_field(field: str) -> None:
    deployment = build_deployment()
    before = version(configuration(deployment))

    setattr(deployment, field, CHANGES[field])

    assert version(configuration(deployment)) != before


@pytest.mark.parametrize("field", sorted(KEY_COLUMNS))
def test_version_changes_with_the_key_and_where_it_is_from(field: str) -> None:
    deployment = build_deployment(api_key="a-key")
    before = version(configuration(deployment))

    setattr(deployment, field, "another")

    assert version(configuration(deployment)) != before


def test_every_column_of_a_setting_is_looked_at_or_left_out_on_purpose() -> None:
    columns = {field.attname for field in FeatureSetting._meta.concrete_fields}

    looked_at = {"feature", "is_inactive", "prompt_version"}
    assert columns == looked_at | {"file_digest", "updated_at"}


def test_every_column_is_looked_at_or_left_out_on_purpose() -> None:
    left_out = {"id", "api_key_ciphertext", "api_key_hint", "file_digest"}
    times = {"created_at", "updated_at"}

    columns = {field.attname for field in ModelDeployment._meta.concrete_fields}

    assert columns == CHANGES.keys() | KEY_COLUMNS | left_out | times


@pytest.mark.parametrize("field", ["created_at", "updated_at", "api_key_hint", "file_digest"])
def test_version_stays_with_what_is_only_shown(field: str) -> None:
    deployment = build_deployment()
    before = version(configuration(deployment))

    setattr(deployment, field, "2025")

    assert version(configuration(deployment)) == before


def test_key_encrypted_anew_changes_the_rows_and_not_the_version() -> None:
    deployment = build_deployment(api_key="a-key")
    before = configuration(deployment)
    version_before, rows_before = version(before), before.rows_digest()

    deployment.set_api_key("a-key")

    assert version(configuration(deployment)) == version_before
    assert configuration(deployment).rows_digest() != rows_before


@pytest.mark.parametrize(
    "route",
    [
        FeatureRoute(Feature.DUO_CHAT, ("a",)),
        FeatureRoute(Feature.DUO_CHAT, ("b", "a")),
        FeatureRoute(Feature.DUO_CHAT, is_inactive=True),
        FeatureRoute(Feature.DUO_CHAT, ("a", "b"), prompt_version="1.0.0"),
        FeatureRoute(Feature.DUO_CHAT),
    ],
)
def test_version_changes_with_the_choice_and_its_order(route: FeatureRoute) -> None:
    before = {Feature.DUO_CHAT: FeatureRoute(Feature.DUO_CHAT, ("a", "b"))}

    after = configuration(routes={Feature.DUO_CHAT: route})

    assert version(after) != version(configuration(routes=before))


def test_row_that_no_form_has_checked_still_has_a_version() -> None:
    assert version(configuration(build_deployment(endpoints=[{"not": "a URL"}])))
    assert version(configuration(build_deployment(endpoints=None)))


# --- Reading and writing -------------------------------------------------------------------------


def test_row_filled_from_its_entry_is_the_same() -> None:
    row = build_deployment(**CHANGES)
    copy = ModelDeployment()

    fill_row(copy, entry_of(row))

    assert entry_of(copy) == entry_of(row)


@pytest.mark.django_db
def test_reading_twice_gives_the_same_version() -> None:
    assign(Feature.DUO_CHAT, make_deployment(api_key="a-key"), make_deployment())

    assert version(read_configuration()) == version(read_configuration())


@pytest.mark.django_db
def test_choices_are_read_in_order_for_every_feature() -> None:
    first, second = make_deployment(), make_deployment()
    assign(Feature.DUO_CHAT, second, first)
    setting_of(Feature.CODE_COMPLETIONS).deactivate()
    FeatureSetting.objects.filter(pk=Feature.TEST_GENERATION).update(prompt_version="~1.0")

    routes = read_configuration().routes

    assert routes.keys() == set(Feature)
    assert routes[Feature.DUO_CHAT].chosen == (second.name, first.name)
    assert routes[Feature.CODE_COMPLETIONS].is_inactive
    assert routes[Feature.TEST_GENERATION].prompt_version == "~1.0"


@pytest.mark.django_db
def test_reading_takes_a_fixed_number_of_queries(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for feature in (Feature.DUO_CHAT, Feature.CODE_GENERATIONS, Feature.CODE_COMPLETIONS):
        assign(feature, make_deployment(), make_deployment())

    with django_assert_max_num_queries(5):
        read_configuration()


@pytest.mark.django_db
def test_a_new_fingerprint_changes_the_rows_and_not_the_version() -> None:
    deployment = make_deployment()
    before = read_configuration()
    make_fingerprint(deployment, context=8192)

    after = read_configuration()

    assert version(after) == version(before)
    assert after.rows_digest() != before.rows_digest()
