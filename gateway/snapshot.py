"""The serving snapshot: one immutable object that every request of a worker is answered from.

It is rebuilt from the database when the configuration's digest changes, and replaced whole: a
request that began with one keeps it to its end.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from feature_config.catalogue import Feature
from feature_config.models import FeatureSetting
from feature_config.resolution import FeatureRoute
from prompts.registry import PromptRegistry
from selfhosted_models.errors import DeploymentError
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox
from selfhosted_models.serving import ServingConfig

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServingSnapshot:
    """What a worker serves from.

    Attributes:
        version: Digest of the configuration it was built from; "" before the first.
        deployments: The active ones that can be used, by name.
        routes: What answers each feature; every feature of the catalogue is there.
        prompts: The compiled prompt definitions.
    """

    version: str
    deployments: Mapping[str, ServingConfig]
    routes: Mapping[Feature, FeatureRoute]
    prompts: PromptRegistry


@dataclass(frozen=True, slots=True)
class Configuration:
    """The stored rows that matter to serving, read together."""

    deployments: tuple[ModelDeployment, ...]
    routes: Mapping[Feature, FeatureRoute]

    def digest(self) -> str:
        """Return a digest that changes exactly when serving would."""
        return hashlib.sha256(orjson.dumps(self._document(), default=str)).hexdigest()[:16]

    def _document(self) -> Any:
        unserved = {"created_at", "updated_at", "api_key_hint", "is_active"}
        rows = [
            {
                column.attname: getattr(row, column.attname)
                for column in ModelDeployment._meta.concrete_fields
                if column.attname not in unserved
            }
            for row in self.deployments
        ]
        choices = [
            [feature, route.is_inactive, route.prompt_version, *route.chosen]
            for feature, route in self.routes.items()
        ]
        return [rows, choices]


def read_configuration() -> Configuration:
    """Read the configuration from the database; blocks."""
    settings = FeatureSetting.objects.prefetch_related("choices__deployment")
    stored = {
        setting.feature: FeatureRoute(
            feature=Feature(setting.feature),
            chosen=tuple(choice.deployment.name for choice in setting.choices.all()),
            is_inactive=setting.is_inactive,
            prompt_version=setting.prompt_version,
        )
        for setting in settings
    }
    return Configuration(
        deployments=tuple(ModelDeployment.objects.active()),
        routes={feature: stored.get(feature, FeatureRoute(feature)) for feature in Feature},
    )


def build_snapshot(
    configuration: Configuration, prompts: PromptRegistry, box: SecretBox
) -> ServingSnapshot:
    """Return the snapshot of `configuration`; a deployment that cannot be used is left out."""
    deployments = {}
    for deployment in configuration.deployments:
        try:
            deployments[deployment.name] = deployment.to_serving_config(box)
        except DeploymentError as error:
            log.warning(
                "deployment.unusable",
                deployment=deployment.name,
                code=error.code,
                reason=error.safe_message,
            )
        except Exception:  # a row no form has checked takes along itself, not the others
            log.exception("deployment.unusable", deployment=deployment.name, code="row_invalid")
    return ServingSnapshot(
        version=configuration.digest(),
        deployments=deployments,
        routes=configuration.routes,
        prompts=prompts,
    )


def empty_snapshot(prompts: PromptRegistry) -> ServingSnapshot:
    """Return what a worker holds until it could read the configuration once."""
    routes = {feature: FeatureRoute(feature) for feature in Feature}
    return ServingSnapshot(version="", deployments={}, routes=routes, prompts=prompts)
