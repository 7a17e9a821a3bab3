"""The serving snapshot: one immutable object that every request of a worker is answered from.

It is rebuilt from the database when the configuration's rows change, and replaced whole: a request
that began with one keeps it to its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from feature_config.catalogue import Feature
from feature_config.resolution import FeatureRoute
from gateway.configuration.stored import StoredConfiguration
from prompts.registry import PromptRegistry
from selfhosted_models.errors import DeploymentError
from selfhosted_models.secrets import SecretBox
from selfhosted_models.serving import ServingConfig

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServingSnapshot:
    """What a worker serves from.

    Attributes:
        version: Digest of the configuration it was built from, the same as that of the revision
            that recorded it; "" before the first.
        deployments: The active ones that can be used, by name.
        routes: What answers each feature; every feature of the catalogue is there.
        prompts: The compiled prompt definitions.
        rows_digest: Digest of the rows themselves: keys that are encrypted anew make a new snapshot
            of the same version.
        unusable: Why an active deployment was left out, by name.
    """

    version: str
    deployments: Mapping[str, ServingConfig]
    routes: Mapping[Feature, FeatureRoute]
    prompts: PromptRegistry
    rows_digest: str = ""
    unusable: Mapping[str, str] = field(default_factory=dict)


def build_snapshot(
    configuration: StoredConfiguration, prompts: PromptRegistry, box: SecretBox
) -> ServingSnapshot:
    """Return the snapshot of `configuration`; a deployment that cannot be used is left out."""
    deployments, unusable = {}, {}
    for deployment in configuration.deployments:
        if not deployment.is_active:
            continue
        try:
            deployments[deployment.name] = deployment.to_serving_config(
                box, configuration.fingerprints.get(deployment.pk)
            )
        except DeploymentError as error:
            unusable[deployment.name] = error.safe_message
            log.warning(
                "deployment.unusable",
                deployment=deployment.name,
                code=error.code,
                reason=error.safe_message,
            )
        except Exception:  # a row no form has checked takes along itself, not the others
            unusable[deployment.name] = "Its row holds values that no form lets through: edit it."
            log.exception("deployment.unusable", deployment=deployment.name, code="row_invalid")
    return ServingSnapshot(
        version=configuration.document().digest(),
        deployments=deployments,
        routes=configuration.routes,
        prompts=prompts,
        rows_digest=configuration.rows_digest(),
        unusable=unusable,
    )


def empty_snapshot(prompts: PromptRegistry) -> ServingSnapshot:
    """Return what a worker holds until it could read the configuration once."""
    routes = {feature: FeatureRoute(feature) for feature in Feature}
    return ServingSnapshot(version="", deployments={}, routes=routes, prompts=prompts)
