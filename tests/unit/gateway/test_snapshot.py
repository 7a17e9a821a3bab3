from typing import Any

import pytest
import structlog.testing
from cryptography.fernet import Fernet
from django.conf import settings
from pytest_django import DjangoAssertNumQueries

from feature_config.catalogue import Feature
from feature_config.models import FeatureSetting
from feature_config.resolution import FeatureRoute
from gateway.snapshot import (
    Configuration,
    build_snapshot,
    empty_snapshot,
    read_configuration,
)
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox
from tests.factories import assign, build_deployment, make_deployment, setting_of
from tests.unit.gateway.parts import prompts

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
}


def configuration(
    *deployments: ModelDeployment, routes: dict[Feature, FeatureRoute] | None = None
) -> Configuration:
    every = {feature: FeatureRoute(feature) for feature in Feature}
    return Configuration(deployments, every | (routes or {}))


def box() -> SecretBox:
    return SecretBox(settings.ENCRYPTION_KEYS)


# --- The digest ----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", CHANGES)
def test_digest_changes_with_what_is_served(field: str) -> None:
    deployment = build_deployment()
    before = configuration(deployment).digest()

    setattr(deployment, field, CHANGES[field])

    assert configuration(deployment).digest() != before


def test_every_column_that_is_served_is_looked_at() -> None:
    unserved = {"id", "api_key_ciphertext", "api_key_hint", "is_active"}
    times = {"created_at", "updated_at"}

    columns = {field.attname for field in ModelDeployment._meta.concrete_fields}

    assert columns == CHANGES.keys() | unserved | times


def test_digest_changes_with_the_key() -> None:
    deployment = build_deployment()
    before = configuration(deployment).digest()

    deployment.set_api_key("a-new-key")

    assert configuration(deployment).digest() != before


@pytest.mark.parametrize("field", ["created_at", "updated_at", "api_key_hint"])
def test_digest_stays_with_what_is_only_shown(field: str) -> None:
    deployment = build_deployment()
    before = configuration(deployment).digest()

    setattr(deployment, field, "2025")

    assert configuration(deployment).digest() == before


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
def test_digest_changes_with_the_choice_and_its_order(route: FeatureRoute) -> None:
    before = {Feature.DUO_CHAT: FeatureRoute(Feature.DUO_CHAT, ("a", "b"))}

    assert configuration(routes={Feature.DUO_CHAT: route}).digest() != (
        configuration(routes=before).digest()
    )


# --- Reading -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_reading_twice_gives_the_same_digest() -> None:
    assign(Feature.DUO_CHAT, make_deployment(api_key="a-key"), make_deployment())

    assert read_configuration().digest() == read_configuration().digest()


@pytest.mark.django_db
def test_saving_without_a_change_keeps_the_digest() -> None:
    deployment = make_deployment()
    before = read_configuration().digest()

    deployment.save()
    setting_of(Feature.DUO_CHAT).save()

    assert read_configuration().digest() == before


@pytest.mark.django_db
def test_inactive_deployment_is_not_read_whatever_changes_in_it() -> None:
    deployment = make_deployment(is_active=False)
    before = read_configuration()

    deployment.model_identifier = "another-model"
    deployment.save()

    assert before.deployments == ()
    assert read_configuration().digest() == before.digest()


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

    with django_assert_max_num_queries(4):
        read_configuration()


# --- Building ------------------------------------------------------------------------------------


def test_snapshot_has_the_configurations_digest_and_deployments() -> None:
    stored = configuration(build_deployment(name="a", api_key="key-of-a"), build_deployment())

    built = build_snapshot(stored, prompts(), box())

    assert built.version == stored.digest()
    assert len(built.deployments) == 2
    key = built.deployments["a"].api_key
    assert key is not None
    assert key.reveal() == "key-of-a"


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ({"api_key_ciphertext": "not a token"}, "secret_unavailable"),
        ({"endpoints": ["gpu1"]}, "endpoint_refused"),
    ],
)
def test_unusable_deployment_is_left_out_and_logged(broken: dict[str, Any], code: str) -> None:
    stored = configuration(build_deployment(name="bad", **broken), build_deployment(name="good"))

    with structlog.testing.capture_logs() as logs:
        built = build_snapshot(stored, prompts(), box())

    assert [*built.deployments] == ["good"]
    assert [(event["deployment"], event["code"]) for event in logs] == [("bad", code)]


def test_deployment_whose_encryption_key_is_gone_is_left_out() -> None:
    stored = configuration(build_deployment(api_key="key-of-a"))
    another = SecretBox([Fernet.generate_key().decode()])

    built = build_snapshot(stored, prompts(), another)

    assert built.deployments == {}


def test_empty_snapshot_has_every_feature_and_no_version() -> None:
    empty = empty_snapshot(prompts())

    assert empty.version == ""
    assert empty.routes.keys() == set(Feature)
    assert empty.deployments == {}
