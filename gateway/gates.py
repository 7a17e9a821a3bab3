"""May this caller use this feature, and what will answer? One function, as a list of gates.

Requests, the admin's explanation and the commands all ask here, so they cannot disagree.
"""

from dataclasses import dataclass

from feature_config.catalogue import Feature, own_prompts
from feature_config.errors import DeploymentMissing, FeatureInactive
from feature_config.resolution import resolve
from gateway.authentication.verifier import Caller
from gateway.errors import KNOWN_ERRORS, KnownError, PathUnknown, ScopeDenied, TokenRefused
from gateway.model_metadata import (
    CallerModel,
    ModelMetadataPolicy,
    match_registered,
    serving_config_of,
)
from gateway.snapshot import ServingSnapshot
from prompts.definition import PromptDefinition
from prompts.registry import variants_for
from selfhosted_models.serving import ServingConfig

#: The scope that permits asking a deployment by its name, past the features' choices.
USE_DEPLOYMENTS_DIRECTLY = "use_deployments_directly"


@dataclass(frozen=True, slots=True)
class Access:
    """What a request needs.

    Attributes:
        feature: Whose choice of model answers; None for the connection check and for a deployment
            asked by name, which have none.
        unit_primitive: The scope the token must carry.
        prompt: Folder of the prompt's definitions.
        denied_detail: The wire contract's text for a missing scope.
        prompt_constraint: Version constraint of the caller; None is the default.
        refuses_own_issued: Whether tokens this gateway issued to users count as lacking the scope.
        deployment: Name of the deployment that is asked in place of a feature's choice, if one is.
    """

    feature: Feature | None
    unit_primitive: str
    prompt: str
    denied_detail: str
    prompt_constraint: str | None = None
    refuses_own_issued: bool = False
    deployment: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment that may answer, and the prompt it would be given."""

    serving: ServingConfig
    prompt: PromptDefinition


@dataclass(frozen=True, slots=True)
class Gate:
    """One question and its answer; `error` is set where the answer is no."""

    name: str
    detail: str
    error: KnownError | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The gates up to the first that is shut, and what answers if none is.

    Attributes:
        gates: In the order they were asked.
        candidates: First choice first; empty if a gate is shut.
    """

    gates: tuple[Gate, ...]
    candidates: tuple[Candidate, ...]

    @property
    def error(self) -> KnownError | None:
        return self.gates[-1].error

    def require(self) -> tuple[Candidate, ...]:
        """Return the candidates, or raise what shut the gate."""
        if self.error is not None:
            raise self.error
        return self.candidates


def decide(
    snapshot: ServingSnapshot,
    caller: Caller | None,
    access: Access,
    *,
    caller_model: CallerModel | None,
    policy: ModelMetadataPolicy,
) -> Decision:
    """Ask the gates in order and stop at the first that is shut."""
    if policy is ModelMetadataPolicy.IGNORE:
        caller_model = None  # not read: neither for who answers nor for which prompt
    passed: list[Gate] = []
    gate = "token"
    try:
        holder = _require_token(caller)
        passed.append(Gate(gate, f"a valid token of {holder.subject or 'an unnamed subject'}"))

        gate = "scope"
        _require_scope(holder, access)
        passed.append(Gate(gate, f"the token carries {access.unit_primitive}"))

        gate = "feature"
        _require_not_inactive(snapshot, access.feature)
        is_on = f"{access.feature} is not inactive" if access.feature else "no feature is asked"
        passed.append(Gate(gate, is_on))

        gate = "deployment"
        servings = _servings(snapshot, access, caller_model, policy)
        passed.append(Gate(gate, ", ".join(serving.deployment for serving in servings)))

        gate = "prompt"
        wire_name = caller_model.name if caller_model else None
        pin = _pin(snapshot, access)
        candidates = tuple(
            Candidate(serving, _prompt(snapshot, access, serving, wire_name, pin))
            for serving in servings
        )
        prompts = (f"{item.prompt.variant} {item.prompt.version}" for item in candidates)
        passed.append(Gate(gate, ", ".join(prompts) + (f"; pinned to {pin}" if pin else "")))
    except KNOWN_ERRORS as error:
        return Decision((*passed, Gate(gate, error.safe_message, error)), ())
    return Decision(tuple(passed), candidates)


def _require_token(caller: Caller | None) -> Caller:
    if caller is None:
        raise TokenRefused("No authorization header presented")
    return caller


def _require_scope(caller: Caller, access: Access) -> None:
    is_refused = caller.is_own_issued and access.refuses_own_issued
    if is_refused or access.unit_primitive not in caller.scopes:
        raise ScopeDenied(access.denied_detail)


def _require_not_inactive(snapshot: ServingSnapshot, feature: Feature | None) -> None:
    if feature is not None and snapshot.routes[feature].is_inactive:
        raise FeatureInactive(feature)


def _servings(
    snapshot: ServingSnapshot,
    access: Access,
    caller_model: CallerModel | None,
    policy: ModelMetadataPolicy,
) -> tuple[ServingConfig, ...]:
    """Return the model the caller names, where that is allowed, else the choice made here."""
    if access.deployment is not None:
        return (_named(snapshot, access.deployment),)
    if caller_model is not None:
        if policy is ModelMetadataPolicy.ALLOW:
            return (serving_config_of(caller_model),)
        if policy is ModelMetadataPolicy.REGISTERED:
            return (match_registered(caller_model, snapshot.deployments),)
    if access.feature is None:
        raise DeploymentMissing("The connection check needs model_metadata: it tests that model.")
    return resolve(snapshot.routes[access.feature], snapshot.deployments)


def _named(snapshot: ServingSnapshot, deployment: str) -> ServingConfig:
    if deployment not in snapshot.deployments:
        raise PathUnknown(
            f"No active deployment is called '{deployment[:60]}': GET /openai/v1/models lists "
            "what there is.",
            code="deployment_unknown",
        )
    return snapshot.deployments[deployment]


def _pin(snapshot: ServingSnapshot, access: Access) -> str:
    """Return what an admin wants of the version; other prompts of a feature count by themselves."""
    if access.feature is None or access.prompt not in own_prompts(access.feature):
        return ""
    return snapshot.routes[access.feature].prompt_version


def _prompt(
    snapshot: ServingSnapshot,
    access: Access,
    serving: ServingConfig,
    wire_name: str | None,
    pin: str,
) -> PromptDefinition:
    variants = variants_for(serving.family, wire_name)
    return snapshot.prompts.find(access.prompt, variants, access.prompt_constraint, pin)
