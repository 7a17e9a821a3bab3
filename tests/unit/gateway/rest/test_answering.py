"""`prompts/…/render/`, `explain/…/`, `routing/…/` and `direct_access/`."""

import re
from typing import Any

import jwt
import pytest
from django.utils import timezone

from feature_config.catalogue import Feature
from feature_config.models import FeatureSetting
from gateway.routing.endpoint_state import HealthState
from gateway.runtime import own_keys_from_settings
from selfhosted_models.models import EndpointHealth, ModelDeployment
from tests.factories import assign, make_deployment
from tests.unit.gateway.rest.api import Api

RENDER = "prompts/code_explanation/render/"
INPUTS = {
    "file_content": "x = 1",
    "selected_text": "x = 1",
    "question": "Why?",
    "language_info": "",
}


def test_prompt_is_rendered_for_a_family(api: Api) -> None:
    answer = api.post(RENDER, {"family": "mistral-7b", "inputs": INPUTS})

    told = answer.json()
    assert answer.status_code == 200, told
    assert (told["prompt_id"], told["version"]) == ("chat/explain_code", "1.0.0")
    assert re.fullmatch("[0-9a-f]{16}", told["digest"])
    assert told["parameters"].keys() >= {"temperature", "stop"}
    assert "x = 1" in str(told["messages"])


def test_prompt_is_rendered_for_a_deployment_within_its_context(api: Api) -> None:
    make_deployment(name="small", family="codegemma-7b-it", context_tokens=4096)

    told = api.post(RENDER, {"deployment": "small", "inputs": INPUTS}).json()

    assert told["budget"]["context_tokens"] == 4096


def test_version_an_admin_pinned_is_the_one_that_is_rendered(api: Api) -> None:
    FeatureSetting.objects.filter(pk=Feature.CODE_EXPLANATION).update(prompt_version="2.0.0")

    answer = api.post(RENDER, {"family": "mistral-7b", "inputs": INPUTS})

    assert answer.status_code == 422
    assert "2.0.0" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "either a family or a deployment"),
        ({"family": "mistral-7b", "deployment": "x"}, 422, "either"),
        ({"deployment": "nobody"}, 422, "none of this name"),
        ({"family": "mistral-7b", "inputs": INPUTS | {"selected_text": "a\0"}}, 422, "nput"),
        ({"family": "mistral-7b", "inputs": INPUTS, "version": "9.9"}, 422, "9.9"),
        ({"family": "mistral-7b", "inputs": INPUTS, "version": "new"}, 422, "constraint"),
    ],
)
def test_prompt_that_cannot_be_rendered_is_told(
    api: Api, body: dict[str, Any], status: int, words: str
) -> None:
    answer = api.post(RENDER, body)

    assert answer.status_code == status
    assert words in answer.json()["detail"]


# --- Explain --------------------------------------------------------------------------------------


def test_open_gates_and_who_would_answer_are_told(api: Api) -> None:
    assign(Feature.DUO_CHAT, make_deployment(name="first"), make_deployment(name="second"))

    told = api.get("explain/duo_chat/").json()

    assert told["would_answer"] is True
    assert [gate["name"] for gate in told["gates"]][:2] == ["token", "scope"]
    assert all(gate["is_open"] for gate in told["gates"])
    assert [item["deployment"] for item in told["candidates"]] == ["first", "second"]


@pytest.mark.parametrize(
    ("query", "gate", "code"),
    [("", "deployment", "deployment_missing"), ("?scopes=write_tests", "scope", "scope_denied")],
)
def test_first_shut_gate_is_told_with_its_remedy(
    api: Api, query: str, gate: str, code: str
) -> None:
    told = api.get(f"explain/duo_chat/{query}").json()

    assert (told["would_answer"], told["candidates"]) == (False, [])
    assert (told["gates"][-1]["name"], told["gates"][-1]["code"]) == (gate, code)
    assert told["gates"][-1]["detail"]


def hear(deployment: ModelDeployment, state: HealthState) -> None:
    """Have a worker write down how the deployment's endpoint is."""
    EndpointHealth.objects.create(
        deployment=deployment,
        url=deployment.endpoints[0],
        state=state,
        reason="it is on fire" if state is HealthState.DOWN else "",
        since=timezone.now(),
        heard_at=timezone.now(),
    )


def test_routing_tells_what_would_answer_now_and_why(api: Api) -> None:
    first, second = make_deployment(name="first"), make_deployment(name="second")
    assign(Feature.DUO_CHAT, first, second)
    hear(first, HealthState.DOWN)
    hear(second, HealthState.HEALTHY)

    told = api.get("routing/duo_chat/").json()

    assert (told["deployment"], told["remedy"]) == ("second", "")
    assert "passed over" in told["why"]
    way = [(stop["deployment"], stop["state"], stop["reason"]) for stop in told["way"]]
    assert way == [("first", "down", "it is on fire"), ("second", "healthy", "")]
    assert told["way"][0]["heard_at"]


def test_routing_and_explain_agree_when_nothing_would_answer(api: Api) -> None:
    only = make_deployment(name="only")
    assign(Feature.DUO_CHAT, only)
    hear(only, HealthState.DOWN)

    routed = api.get("routing/duo_chat/").json()
    explained = api.get("explain/duo_chat/").json()

    assert (routed["deployment"], explained["would_answer"]) == (None, False)
    assert routed["remedy"] == explained["remedy"] != ""
    assert explained["gates"][-1]["name"] == "servers"


def test_routing_of_a_feature_without_a_deployment_says_what_to_do(api: Api) -> None:
    told = api.get("routing/duo_chat/").json()

    assert (told["deployment"], told["way"]) == (None, [])
    assert "Assign" in told["remedy"]


# --- Direct access --------------------------------------------------------------------------------

ASKED = {"user_id": "user-1", "instance_id": "inst-1", "host_name": "gitlab.example.com"}


def test_direct_access_has_the_shape_of_gitlab(api: Api) -> None:
    answer = api.post("direct_access/", ASKED)

    told = answer.json()
    assert answer.status_code == 201
    assert told.keys() == {"base_url", "token", "expires_at", "headers"}
    assert told["base_url"] == "http://testserver"
    assert told["headers"] == {
        "X-Gitlab-Authentication-Type": "oidc",
        "X-Gitlab-Global-User-Id": "user-1",
        "X-Gitlab-Instance-Id": "inst-1",
        "X-Gitlab-Realm": "self-managed",
        "X-Gitlab-Host-Name": "gitlab.example.com",
    }


def test_direct_access_permits_completion_alone_for_an_hour(api: Api) -> None:
    told = api.post("direct_access/", ASKED).json()

    claims = jwt.decode(
        told["token"],
        own_keys_from_settings().public[0],
        algorithms=["RS256"],
        audience="gitlab-ai-gateway",
    )
    assert (claims["sub"], claims["scopes"]) == ("user-1", ["complete_code"])
    assert claims["exp"] - claims["iat"] == 3600 == told["expires_at"] - claims["iat"]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"user_id": ""}, "user_id"), ({"user_id": "a\r\nb"}, "user_id"), ({"realm": "x"}, "realm")],
)
def test_direct_access_for_nobody_is_refused(api: Api, change: Any, field: str) -> None:
    answer = api.post("direct_access/", ASKED | change)

    assert (answer.status_code, [*answer.json()["errors"]]) == (422, [field])


def test_token_is_not_kept_for_a_repeated_request(api: Api) -> None:
    one, other = (api.post("direct_access/", ASKED, idempotency_key="k").json() for _ in "12")

    assert one["token"] != other["token"]
