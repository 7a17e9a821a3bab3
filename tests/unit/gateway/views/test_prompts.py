from typing import Any

import pytest

from feature_config.catalogue import Feature
from gateway.inbound.handler import GatewayHandler
from gateway.model_metadata import ModelMetadataPolicy
from selfhosted_models.families import ModelFamily
from tests.unit.gateway.asgi import Client
from tests.unit.gateway.parts import ModelServer, runtime, serving, snapshot, text_answer
from tests.unit.gateway.signing import headers, mint

CHECK = "/v1/prompts/model_configuration/check"
COMPLETION = "/v1/prompts/code_suggestions/completions"
INPUTS = {"prefix": "x = ", "suffix": ""}
MODEL = {
    "name": "codegemma",
    "provider": "text-completion-openai",
    "endpoint": "http://10.0.4.11:8000/v1",
}


def client(policy: ModelMetadataPolicy = ModelMetadataPolicy.REGISTERED) -> Client:
    general = serving("general-a", family=ModelFamily.GENERAL, endpoints=["http://10.0.4.9/v1"])
    serves = snapshot(
        [serving(), general],
        {Feature.CODE_COMPLETIONS: ["codegemma-gpu1"], Feature.DUO_CHAT: ["general-a"]},
    )
    return Client(GatewayHandler(runtime(ModelServer(text_answer("1")), serves, policy=policy)))


async def post(path: str, body: dict[str, Any], *, scopes: list[str] | None = None) -> Any:
    sent = headers(mint(scopes=["complete_code"] if scopes is None else scopes))
    return await client().post(path, sent, json=body)


async def test_answer_is_a_bare_json_string() -> None:
    answer = await post(COMPLETION, {"inputs": INPUTS})

    assert (answer.status, answer.body) == (200, b'"1"')


@pytest.mark.parametrize("model", [None, MODEL])
@pytest.mark.parametrize("scopes", [[], ["complete_code"]])
async def test_unreadable_version_is_told_before_the_scope(
    model: dict[str, str] | None, scopes: list[str]
) -> None:
    body = {"inputs": INPUTS, "prompt_version": "not-a-version", "model_metadata": model}

    answer = await post(COMPLETION, body, scopes=scopes)

    assert (answer.status, answer.json["detail"]) == (422, "Invalid version constraint")


@pytest.mark.parametrize("model", [None, MODEL])
async def test_version_that_does_not_exist_is_told_with_those_that_do(
    model: dict[str, str] | None,
) -> None:
    body = {"inputs": INPUTS, "prompt_version": "^9.0.0", "model_metadata": model}

    answer = await post(COMPLETION, body)

    assert (answer.status, answer.json["code"]) == (422, "version_unsatisfied")
    assert "1.0.0" in answer.json["detail"]


@pytest.mark.parametrize("version", [None, "", "^1.0.0", "1.0.0"])
async def test_no_version_means_the_first_line(version: str | None) -> None:
    answer = await post(COMPLETION, {"inputs": INPUTS, "prompt_version": version})

    assert answer.status == 200


@pytest.mark.parametrize("prompt_id", ["garden/plan", "chat", "..", "%2e%2e", "a" * 300])
async def test_unknown_id_is_told_before_the_scope(prompt_id: str) -> None:
    answer = await post(f"/v1/prompts/{prompt_id}", {"inputs": {}}, scopes=[])

    assert answer.status == 404
    assert answer.json["detail"] == f"Prompt '{prompt_id}' not found"


async def test_unknown_family_is_told_before_the_scope() -> None:
    body = {"inputs": INPUTS, "model_metadata": {**MODEL, "name": "gizmo"}}

    answer = await post(COMPLETION, body, scopes=[])

    told = "Prompt 'code_suggestions/completions' not found"
    assert (answer.status, answer.json["detail"]) == (404, told)


async def test_missing_scope_is_told_with_the_id() -> None:
    answer = await post(COMPLETION, {"inputs": INPUTS}, scopes=["duo_chat"])

    told = "Unauthorized to access 'code_suggestions/completions'"
    assert (answer.status, answer.json["detail"]) == (403, told)


@pytest.mark.parametrize("model", [None, MODEL])
async def test_agent_is_not_supported_here(model: dict[str, str] | None) -> None:
    body: dict[str, Any] = {"inputs": {"messages": []}, "model_metadata": model}

    answer = await post("/v1/prompts/chat/react", body, scopes=["duo_chat"])

    assert (answer.status, answer.json["detail"]) == (422, "Prompt 'chat/react' is not supported")


async def test_missing_input_is_named() -> None:
    answer = await post(COMPLETION, {"inputs": {"prefix": "x"}})

    assert answer.status == 422
    assert "suffix" in answer.json["detail"]


async def test_connection_check_without_a_model_says_what_it_needs() -> None:
    answer = await post(CHECK, {"inputs": {}})

    assert (answer.status, answer.json["code"]) == (503, "deployment_missing")
    assert "needs model_metadata" in answer.json["detail"]


async def test_ignored_model_may_be_of_a_family_unknown_here() -> None:
    body = {"inputs": INPUTS, "model_metadata": {**MODEL, "name": "gizmo"}}
    sent = headers(mint())

    answer = await client(ModelMetadataPolicy.IGNORE).post(COMPLETION, sent, json=body)

    assert answer.status == 200
