from typing import Any

import pytest

from gateway.errors import RequestInvalid
from gateway.model_metadata import (
    CallerModel,
    DialectUnsupported,
    match_registered,
    serving_config_of,
)
from selfhosted_models.families import ModelFamily
from selfhosted_models.serving import ServingConfig
from tests.unit.gateway.parts import serving

ENDPOINT = "http://10.0.4.11:8000/v1"


def model(**changes: Any) -> CallerModel:
    values: dict[str, Any] = {
        "name": "mistral",
        "endpoint": ENDPOINT,
        "api_key": None,
        "identifier": "",
        "provider": "openai",
    }
    return CallerModel(**values | changes)


def match(named: CallerModel, *deployments: ServingConfig) -> str:
    by_name = {deployment.deployment: deployment for deployment in deployments}
    return match_registered(named, by_name).deployment


# --- A caller's own server -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identifier", "provider", "serving_format", "sent"),
    [
        ("", "openai", "openai_chat", "mistral"),
        ("", "custom_openai", "openai_chat", "mistral"),
        ("", "text-completion-openai", "openai_text", "mistral"),
        ("m", "text-completion-openai", "openai_chat", "m"),
        ("custom_openai/m", "litellm", "openai_chat", "m"),
        ("openai/m", "litellm", "openai_chat", "m"),
        ("text-completion-openai/m", "openai", "openai_text", "m"),
        ("custom_openai/org/m:tag", "openai", "openai_chat", "org/m:tag"),
    ],
)
def test_identifier_says_dialect_and_model(
    identifier: str, provider: str, serving_format: str, sent: str
) -> None:
    found = serving_config_of(model(identifier=identifier, provider=provider))

    assert (found.serving_format, found.model_identifier) == (serving_format, sent)


def test_a_weight_is_nothing_a_caller_can_give() -> None:
    with pytest.raises(RequestInvalid):
        serving_config_of(model(endpoint=f"{ENDPOINT} weight=3"))


@pytest.mark.parametrize(
    ("identifier", "provider"),
    [("bedrock/m", "openai"), ("azure/m", "openai"), ("vertex_ai/m", "openai"), ("", "litellm")],
)
def test_dialect_of_a_vendor_is_refused(identifier: str, provider: str) -> None:
    with pytest.raises(DialectUnsupported, match="use custom_openai/<model> for chat"):
        serving_config_of(model(identifier=identifier, provider=provider))


def test_overlong_dialect_is_not_repeated() -> None:
    with pytest.raises(DialectUnsupported) as caught:
        serving_config_of(model(identifier="x" * 200 + "/m"))

    assert len(caught.value.safe_message) < 200


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("mistral", ModelFamily.MISTRAL_7B),
        ("mixtral", ModelFamily.MIXTRAL_8X7B_INSTRUCT),
        ("codegemma", ModelFamily.CODEGEMMA_7B_IT),
        ("codegemma_2b", ModelFamily.CODEGEMMA_2B),
        ("codegemma_7b", ModelFamily.CODEGEMMA_7B_IT),
        ("llama3", ModelFamily.GENERAL),
        ("qwen3", ModelFamily.GENERAL),
    ],
)
def test_ambiguous_name_means_the_first_family_it_fits(name: str, family: ModelFamily) -> None:
    assert serving_config_of(model(name=name)).family is family


def test_unknown_family_is_told_to_the_admin() -> None:
    with pytest.raises(RequestInvalid) as caught:
        serving_config_of(model(name="gizmo", loc=("body", "model_metadata", "name")))

    assert caught.value.detail == [
        {
            "type": "value_error",
            "loc": ["body", "model_metadata", "name"],
            "msg": "There is no model family 'gizmo'.",
            "input": "gizmo",
        }
    ]


@pytest.mark.parametrize("endpoint", [None, "", "gpu1", "ftp://h/v1", "http://u:p@h/v1"])
@pytest.mark.parametrize("use", ["allow", "registered"])
def test_endpoint_that_is_no_url_is_named_as_such(endpoint: str | None, use: str) -> None:
    named = model(endpoint=endpoint)

    with pytest.raises(RequestInvalid) as caught:
        serving_config_of(named) if use == "allow" else match_registered(named, {})

    assert isinstance(caught.value.detail, str)
    assert caught.value.detail.startswith("model_endpoint: ")


def test_final_slash_of_the_endpoint_is_removed() -> None:
    found = serving_config_of(model(endpoint=ENDPOINT + "/"))

    assert [endpoint.url for endpoint in found.endpoints] == [ENDPOINT]


@pytest.mark.parametrize("key", [None, ""])
def test_no_key_is_no_key(key: str | None) -> None:
    assert serving_config_of(model(api_key=key)).api_key is None


def test_callers_key_is_kept_secret() -> None:
    found = serving_config_of(model(api_key="key-of-caller"))

    assert "key-of-caller" not in repr(found)


# --- Matching a registered deployment ------------------------------------------------------------

GEMMA_7B = serving("gemma-7b", endpoints=[ENDPOINT], model_identifier="codegemma-7b-it")
GEMMA_2B = serving(
    "gemma-2b",
    endpoints=[ENDPOINT],
    model_identifier="codegemma-2b",
    family=ModelFamily.CODEGEMMA_2B,
)
MIXTRAL_SMALL = serving("mixtral-s", family=ModelFamily.MIXTRAL_8X7B_INSTRUCT)
MIXTRAL_LARGE = serving("mixtral-l", family=ModelFamily.MIXTRAL_8X22B)


@pytest.mark.parametrize(
    ("name", "deployment"),
    [
        ("codegemma", GEMMA_7B),
        ("codegemma", GEMMA_2B),
        ("codegemma_7b", GEMMA_7B),
        ("codegemma_2b", GEMMA_2B),
        ("mixtral", MIXTRAL_SMALL),
        ("mixtral", MIXTRAL_LARGE),
        ("mistral", serving("m", family=ModelFamily.MISTRAL_7B)),
        ("llama3", serving("g", family=ModelFamily.GENERAL)),
        ("qwen3", serving("g", family=ModelFamily.GENERAL)),
    ],
)
def test_wire_name_matches_every_family_it_fits(name: str, deployment: ServingConfig) -> None:
    assert match(model(name=name), deployment) == deployment.deployment


@pytest.mark.parametrize("name", ["codegemma_2b", "mixtral", "general", "gizmo", "codegemma-7b-it"])
def test_wire_name_of_another_family_does_not_match(name: str) -> None:
    with pytest.raises(RequestInvalid):
        match(model(name=name), GEMMA_7B)


@pytest.mark.parametrize(
    ("identifier", "found"),
    [
        ("codegemma-2b", "gemma-2b"),
        ("custom_openai/codegemma-2b", "gemma-2b"),
        ("codegemma-7b-it", "gemma-7b"),
        ("", "gemma-7b"),
        ("unknown", "gemma-7b"),
    ],
)
def test_identifier_is_preferred_among_several_that_match(identifier: str, found: str) -> None:
    assert match(model(name="codegemma", identifier=identifier), GEMMA_7B, GEMMA_2B) == found


@pytest.mark.parametrize(
    "endpoint",
    [ENDPOINT, ENDPOINT + "/", "HTTP://10.0.4.11:8000/v1", "http://10.0.4.12:8000/v1"],
)
def test_endpoint_matches_however_it_is_written(endpoint: str) -> None:
    both = serving(endpoints=[ENDPOINT, "http://10.0.4.12:8000/v1"])

    assert match(model(name="codegemma", endpoint=endpoint), both) == both.deployment


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://10.0.4.11:8000/v1",
        "http://10.0.4.11:8001/v1",
        "http://10.0.4.11:8000",
        "http://10.0.4.11:8000/v1/chat",
        "http://10.0.4.13:8000/v1",
    ],
)
def test_another_endpoint_does_not_match(endpoint: str) -> None:
    with pytest.raises(RequestInvalid):
        match(model(name="codegemma", endpoint=endpoint), GEMMA_7B)


def test_refusal_says_where_to_register_the_model() -> None:
    with pytest.raises(RequestInvalid) as caught:
        match(model(loc=("body", "model_metadata", "endpoint")))

    told = f"body.model_metadata.endpoint: No active deployment serves mistral at {ENDPOINT}. "
    assert caught.value.safe_message.startswith(f"{told}Register it in the gateway's admin")
