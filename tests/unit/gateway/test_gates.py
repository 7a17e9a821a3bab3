from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from feature_config.catalogue import Feature
from feature_config.errors import DeploymentMissing, FeatureInactive
from gateway.authentication.verifier import Caller
from gateway.errors import PathUnknown, RequestInvalid, ScopeDenied, TokenRefused
from gateway.gates import Access, Decision, decide
from gateway.model_metadata import CallerModel, DialectUnsupported, ModelMetadataPolicy
from prompts.errors import PromptMissing, VersionUnsatisfied
from selfhosted_models.families import ModelFamily
from selfhosted_models.serving import ServingConfig
from tests.unit.gateway.parts import serving, snapshot

REGISTERED, ALLOW, IGNORE = ModelMetadataPolicy
COMPLETIONS = Feature.CODE_COMPLETIONS

ACCESS = Access(
    feature=COMPLETIONS,
    unit_primitive="complete_code",
    prompt="code_completions",
    denied_detail="Unauthorized to access code completions",
)
RAILS = Caller("inst-7f3a", frozenset({"complete_code"}), is_own_issued=False)
USER = Caller("user-1c2d", frozenset({"complete_code"}), is_own_issued=True)

#: The model a caller names: that of the deployment `gpu1`, but with a key of the caller's own.
NAMED = CallerModel(
    name="codegemma",
    endpoint="http://10.0.4.11:8000/v1",
    api_key="key-of-caller",
    identifier="",
    provider="text-completion-openai",
)
GPU1 = serving("gpu1")
GPU2 = serving("gpu2", endpoints=["http://10.0.4.12:8000/v1"], family=ModelFamily.CODEGEMMA_2B)


def ask(
    *,
    caller: Caller | None = RAILS,
    caller_model: CallerModel | None = None,
    policy: ModelMetadataPolicy = REGISTERED,
    deployments: Sequence[ServingConfig] = (GPU1, GPU2),
    routes: Mapping[Feature, Sequence[str] | None] | None = None,
    pin: str = "",
    **access: Any,
) -> Decision:
    """Ask whether completions may be had; they are assigned to `gpu1` unless `routes` differ."""
    values = {name: getattr(ACCESS, name) for name in ACCESS.__slots__} | access
    chosen = {COMPLETIONS: ["gpu1"]} if routes is None else routes
    return decide(
        snapshot(deployments, chosen, {COMPLETIONS: pin}),
        caller,
        Access(**values),
        caller_model=caller_model,
        policy=policy,
    )


def names(decision: Decision) -> list[str]:
    return [gate.name for gate in decision.gates]


def answering(decision: Decision) -> list[str]:
    return [candidate.serving.deployment for candidate in decision.require()]


def test_gates_are_asked_in_order() -> None:
    decision = ask()

    assert names(decision) == ["token", "scope", "feature", "deployment", "prompt"]
    assert decision.error is None
    assert answering(decision) == ["gpu1"]


def test_open_gates_say_what_they_found() -> None:
    assert [gate.detail for gate in ask().gates] == [
        "a valid token of inst-7f3a",
        "the token carries complete_code",
        "code_completions is not inactive",
        "gpu1",
        "codegemma-7b-it 1.0.0",
    ]


def test_prompt_gate_tells_the_pin() -> None:
    assert ask(pin="~1.0").gates[-1].detail == "codegemma-7b-it 1.0.0; pinned to ~1.0"


def test_pin_of_a_feature_is_not_for_its_further_prompts() -> None:
    decision = ask(pin="2.0.0", prompt="fix_code")

    assert decision.gates[-1].detail == "codegemma-7b-it 1.0.0"


@pytest.mark.parametrize(
    ("wrong", "gate", "error"),
    [
        ({"caller": None}, "token", TokenRefused),
        ({"caller": Caller("x", frozenset(), is_own_issued=False)}, "scope", ScopeDenied),
        ({"unit_primitive": "generate_code"}, "scope", ScopeDenied),
        ({"caller": USER, "refuses_own_issued": True}, "scope", ScopeDenied),
        ({"routes": {COMPLETIONS: None}}, "feature", FeatureInactive),
        ({"routes": {}}, "deployment", DeploymentMissing),
        ({"routes": {COMPLETIONS: ["gone"]}}, "deployment", DeploymentMissing),
        ({"feature": None}, "deployment", DeploymentMissing),
        ({"feature": None, "deployment": "gone"}, "deployment", PathUnknown),
        ({"prompt": "poetry"}, "prompt", PromptMissing),
        ({"prompt_constraint": "^9.0.0"}, "prompt", VersionUnsatisfied),
        ({"pin": "2.0.0"}, "prompt", VersionUnsatisfied),
        ({"pin": "2.0.0", "prompt_constraint": "^1.0.0"}, "prompt", VersionUnsatisfied),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_first_shut_gate_ends_the_asking(
    wrong: dict[str, Any], gate: str, error: type[Exception]
) -> None:
    decision = ask(**wrong)

    assert names(decision)[-1] == gate
    assert isinstance(decision.error, error)
    assert decision.candidates == ()
    with pytest.raises(error):
        decision.require()


def test_shut_gate_hides_those_behind_it() -> None:
    everything_wrong = ask(
        caller=Caller("x", frozenset(), is_own_issued=False),
        routes={COMPLETIONS: None},
        deployments=(),
        prompt="poetry",
    )

    assert names(everything_wrong) == ["token", "scope"]


def test_missing_scope_has_the_contracts_text() -> None:
    decision = ask(unit_primitive="generate_code")

    assert decision.gates[-1].detail == "Unauthorized to access code completions"


def test_own_issued_token_is_refused_only_where_the_access_says_so() -> None:
    assert answering(ask(caller=USER)) == ["gpu1"]


def test_fallbacks_come_in_the_order_chosen() -> None:
    decision = ask(routes={COMPLETIONS: ["gpu2", "gone", "gpu1"]})

    assert answering(decision) == ["gpu2", "gpu1"]


def test_each_candidate_has_the_prompt_of_its_own_family() -> None:
    decision = ask(routes={COMPLETIONS: ["gpu1", "gpu2"]})

    variants = [candidate.prompt.variant for candidate in decision.candidates]
    assert variants == ["codegemma-7b-it", "codegemma-2b"]


def test_family_that_the_feature_does_not_support_cannot_answer() -> None:
    mistral = serving("mistral-a", family=ModelFamily.MISTRAL_7B)

    decision = ask(deployments=[mistral], routes={COMPLETIONS: ["mistral-a"]})

    assert isinstance(decision.error, DeploymentMissing)


@pytest.mark.parametrize("routes", [None, {}, {COMPLETIONS: None}])
def test_deployment_asked_by_name_answers_whatever_the_features_choose(
    routes: Mapping[Feature, Sequence[str] | None] | None,
) -> None:
    assert answering(ask(feature=None, deployment="gpu2", routes=routes)) == ["gpu2"]


# --- The model a caller names --------------------------------------------------------------------


@pytest.mark.parametrize("policy", ModelMetadataPolicy)
def test_inactive_wins_whatever_the_caller_names(policy: ModelMetadataPolicy) -> None:
    decision = ask(policy=policy, caller_model=NAMED, routes={COMPLETIONS: None})

    assert isinstance(decision.error, FeatureInactive)


def test_registered_model_answers_in_place_of_the_choice_with_our_key() -> None:
    decision = ask(caller_model=NAMED, routes={COMPLETIONS: ["gpu2"]})

    (candidate,) = decision.require()
    assert candidate.serving is GPU1


def test_registered_model_answers_an_unassigned_feature() -> None:
    assert answering(ask(caller_model=NAMED, routes={})) == ["gpu1"]


def test_model_that_is_not_registered_is_refused() -> None:
    decision = ask(caller_model=NAMED, deployments=[GPU2])

    assert isinstance(decision.error, RequestInvalid)
    assert decision.error.code == "model_not_registered"


def test_allowed_model_answers_with_the_callers_key() -> None:
    decision = ask(policy=ALLOW, caller_model=NAMED, routes={})

    (candidate,) = decision.require()
    assert candidate.serving.deployment == "codegemma-7b-it of the caller"
    assert candidate.serving.api_key is not None
    assert candidate.serving.api_key.reveal() == "key-of-caller"


def test_allowed_model_without_a_key_never_gets_ours() -> None:
    keyless = CallerModel("codegemma", NAMED.endpoint, None, "", NAMED.provider)

    (candidate,) = ask(policy=ALLOW, caller_model=keyless).require()

    assert candidate.serving.api_key is None


def test_allowed_model_of_a_vendors_dialect_is_refused() -> None:
    azure = CallerModel("gpt", NAMED.endpoint, None, "azure/gpt-4", NAMED.provider)

    decision = ask(policy=ALLOW, caller_model=azure)

    assert isinstance(decision.error, DialectUnsupported)


def test_ignored_model_leaves_the_choice_made_here() -> None:
    decision = ask(policy=IGNORE, caller_model=NAMED, routes={COMPLETIONS: ["gpu2"]})

    assert answering(decision) == ["gpu2"]


def test_ignored_name_does_not_choose_the_prompt_either() -> None:
    named = CallerModel("codestral", NAMED.endpoint, None, "", NAMED.provider)

    (candidate,) = ask(policy=IGNORE, caller_model=named).require()

    assert candidate.prompt.variant == "codegemma-7b-it"


@pytest.mark.parametrize("policy", [REGISTERED, ALLOW])
def test_wire_name_with_a_behaviour_of_its_own_has_its_prompt(policy: ModelMetadataPolicy) -> None:
    general = serving("general-a", family=ModelFamily.GENERAL)
    named = CallerModel("codestral", NAMED.endpoint, None, "", NAMED.provider)

    (candidate,) = ask(policy=policy, caller_model=named, deployments=[general]).require()

    assert candidate.prompt.variant == "codestral"


def test_connection_check_tests_the_model_it_is_given() -> None:
    decision = ask(feature=None, prompt="model_configuration_check", caller_model=NAMED, routes={})

    assert answering(decision) == ["gpu1"]


def test_unnamed_subject_is_said_to_be_unnamed() -> None:
    decision = ask(caller=Caller("", frozenset({"complete_code"}), is_own_issued=False))

    assert decision.gates[0].detail == "a valid token of an unnamed subject"
