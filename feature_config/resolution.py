"""From the stored choices to what answers: pure values, built once per configuration version."""

from collections.abc import Mapping
from dataclasses import dataclass

from feature_config.catalogue import FEATURES, Feature, support_level
from feature_config.errors import DeploymentMissing, FeatureInactive
from selfhosted_models.serving import ServingConfig


@dataclass(frozen=True, slots=True)
class FeatureRoute:
    """What an admin chose for one feature.

    Attributes:
        chosen: Names of the deployments, first choice first; empty if unassigned or inactive.
        is_inactive: Refused to everyone.
        prompt_version: Constraint on the version of its prompt; "" is none.
    """

    feature: Feature
    chosen: tuple[str, ...] = ()
    is_inactive: bool = False
    prompt_version: str = ""


def resolve(
    route: FeatureRoute, deployments: Mapping[str, ServingConfig]
) -> tuple[ServingConfig, ...]:
    """Return the deployments that may answer `route`, first choice first.

    Args:
        route: The choice.
        deployments: Active deployments by name; one that is left out does not answer.

    Raises:
        FeatureInactive: The admin switched the feature off.
        DeploymentMissing: Nothing is chosen, or nothing of what is chosen can answer.
    """
    title = FEATURES[route.feature].title
    if route.is_inactive:
        raise FeatureInactive(route.feature)
    if not route.chosen:
        raise DeploymentMissing(
            f"No model answers {title} yet: an instance admin assigns a deployment to it under "
            "Features."
        )
    answering = tuple(
        deployments[name]
        for name in route.chosen
        if name in deployments
        and support_level(route.feature, deployments[name].family).is_selectable
    )
    if not answering:
        raise DeploymentMissing(
            f"None of the deployments chosen for {title} can answer ({', '.join(route.chosen)}): "
            "an instance admin checks that they are active and that their keys can be read."
        )
    return answering
