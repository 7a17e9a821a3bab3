"""What `model` stands for in OpenAI's API: the model chosen for a feature, or one deployment."""

from feature_config.catalogue import FEATURES, Feature
from feature_config.errors import FeatureUnknown
from gateway.authentication.verifier import Caller
from gateway.gates import USE_DEPLOYMENTS_DIRECTLY, Access, decide
from gateway.model_metadata import ModelMetadataPolicy
from gateway.snapshot import ServingSnapshot

_DEPLOYMENT = "deployment:"


def model_of(deployment: str) -> str:
    """Return the `model` that asks a deployment directly."""
    return f"{_DEPLOYMENT}{deployment}"


def access_to(model: str) -> Access:
    """Return what a request for `model` needs.

    Raises:
        FeatureUnknown: It is neither a feature id nor `deployment:<name>`.
    """
    if model.startswith(_DEPLOYMENT):
        return Access(
            feature=None,
            unit_primitive=USE_DEPLOYMENTS_DIRECTLY,
            prompt=Feature.CODE_COMPLETIONS,  # for what has a suffix; other text goes as it is
            denied_detail=f"The token lacks the scope {USE_DEPLOYMENTS_DIRECTLY}.",
            deployment=model.removeprefix(_DEPLOYMENT),
        )
    if model not in FEATURES:
        raise FeatureUnknown(model, known=[*FEATURES, f"{_DEPLOYMENT}<name>"])
    feature = Feature(model)
    scope = FEATURES[feature].unit_primitive
    return Access(
        feature=feature,
        unit_primitive=scope,
        prompt=feature,
        denied_detail=f"The token lacks the scope {scope}.",
    )


def usable_models(snapshot: ServingSnapshot, caller: Caller | None) -> list[str]:
    """Return every `model` that would answer this caller now."""
    models = [*Feature, *map(model_of, snapshot.deployments)]
    return [model for model in models if _is_usable(model, snapshot, caller)]


def _is_usable(model: str, snapshot: ServingSnapshot, caller: Caller | None) -> bool:
    access, policy = access_to(model), ModelMetadataPolicy.IGNORE
    return decide(snapshot, caller, access, caller_model=None, policy=policy).error is None
