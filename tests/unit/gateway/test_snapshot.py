from typing import Any

import pytest
import structlog.testing
from cryptography.fernet import Fernet
from django.conf import settings

from feature_config.catalogue import Feature
from feature_config.resolution import FeatureRoute
from gateway.configuration.stored import StoredConfiguration, read_configuration
from gateway.snapshot import (
    build_snapshot,
    empty_snapshot,
)
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox
from tests.factories import build_deployment, make_deployment, make_fingerprint
from tests.unit.gateway.parts import prompts


def configuration(*deployments: ModelDeployment) -> StoredConfiguration:
    return StoredConfiguration(deployments, {feature: FeatureRoute(feature) for feature in Feature})


def box() -> SecretBox:
    return SecretBox(settings.ENCRYPTION_KEYS)


# --- Building ------------------------------------------------------------------------------------


def test_snapshot_has_the_configurations_digest_and_deployments() -> None:
    stored = configuration(build_deployment(name="a", api_key="key-of-a"), build_deployment())

    built = build_snapshot(stored, prompts(), box())

    assert built.version == stored.document().digest()
    assert built.rows_digest == stored.rows_digest()
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


def test_inactive_deployment_is_not_served() -> None:
    stored = configuration(build_deployment(is_active=False), build_deployment(name="active"))

    assert [*build_snapshot(stored, prompts(), box()).deployments] == ["active"]


@pytest.mark.django_db
def test_deployment_is_served_as_it_was_measured() -> None:
    deployment = make_deployment(name="gpu1")
    make_fingerprint(deployment, context=8192, system_role=False)

    built = build_snapshot(read_configuration(), prompts(), box())

    assert built.deployments["gpu1"].context_tokens == 8192
    assert built.deployments["gpu1"].has_system_role is False


def test_empty_snapshot_has_every_feature_and_no_version() -> None:
    empty = empty_snapshot(prompts())

    assert empty.version == ""
    assert empty.routes.keys() == set(Feature)
    assert empty.deployments == {}
