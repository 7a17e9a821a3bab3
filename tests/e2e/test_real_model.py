"""A real small LLM, served by llama.cpp, answers through the whole gateway."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest

from selfhosted_models.endpoints import UrlPolicy, parse_endpoint
from selfhosted_models.errors import UpstreamRejected
from selfhosted_models.framing import SERVER_SENT_EVENTS
from selfhosted_models.outbound import OutboundDoor, OutboundRequest
from selfhosted_models.serving import CHAT_CLOCKS
from selfhosted_models.serving_formats.base import Completion, FillInMiddle, Sampling
from selfhosted_models.serving_formats.registry import SERVING_FORMATS
from tests.e2e.callers import CALLS, CHAT, COMPLETION, GENERATION, Call, leaving_client
from tests.factories import make_serving
from tests.fakes.gitlab import GitLab
from tests.gateway_process import Gateway, gateway

USER = "e2e"


@pytest.fixture(scope="module")
def real_gateway(tmp_path_factory: pytest.TempPathFactory, small_llm_url: str) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("real")) as running:
        common = {
            "endpoints": [small_llm_url],
            "model_identifier": "smollm2-135m-instruct",
            "context_tokens": 4096,
        }
        running.apply(
            [
                {
                    **common,
                    "name": "chat",
                    "family": "general",
                    "serving_format": "openai_chat",
                },
                {
                    **common,
                    "name": "text",
                    "family": "codegemma-2b",
                    "serving_format": "openai_text",
                },
            ],
            {
                "duo_chat": ["chat"],
                "code_generations": ["chat"],
                "code_completions": ["text"],
            },
        )
        yield running


@pytest.fixture(scope="module")
def headers(real_gateway: Gateway) -> dict[str, str]:
    return headers_of(real_gateway)


def headers_of(running: Gateway) -> dict[str, str]:
    """Return those of a user whose token this gateway issued, by the operator's command."""
    scopes = ",".join(sorted({call.scope for call in CALLS}))
    token = running.manage("issue_token", "--user", USER, "--scopes", scopes).strip()
    return {
        "Authorization": f"Bearer {token}",
        "X-Gitlab-Authentication-Type": "oidc",
        "X-Gitlab-Global-User-Id": USER,
    }


def test_chat_is_streamed_token_by_token(real_gateway: Gateway, headers: dict[str, str]) -> None:
    question = {"role": "user", "content": "Name a colour."}
    body = {"model": "duo_chat", "messages": [question], "stream": True, "max_tokens": 24}

    response = httpx.post(real_gateway.url + CHAT.path, json=body, headers=headers, timeout=60)

    events = [line for line in response.text.split("\n\n") if line]
    assert response.status_code == 200
    assert events[-1] == "data: [DONE]"
    assert len(events) > 4


def test_a_whole_chat_answer_has_text_and_usage(
    real_gateway: Gateway, headers: dict[str, str]
) -> None:
    question = {"role": "user", "content": "Say hello."}
    body = {"model": "duo_chat", "messages": [question], "max_tokens": 16}

    answer = httpx.post(real_gateway.url + CHAT.path, json=body, headers=headers, timeout=60).json()

    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["usage"]["prompt_tokens"] > 0


def test_llama_cpp_answers_by_its_own_api_too(
    tmp_path_factory: pytest.TempPathFactory, small_llm_url: str
) -> None:
    with gateway(tmp_path_factory.mktemp("native")) as running:
        deployment = {
            "name": "native",
            "family": "codegemma-2b",
            "serving_format": "llamacpp",
            "endpoints": [small_llm_url.removesuffix("/v1")],
            "model_identifier": "smollm2-135m-instruct",
            "context_tokens": 4096,
        }
        running.apply([deployment], {"duo_chat": ["native"], "code_completions": ["native"]})
        headers = headers_of(running)
        chat = {**CHAT.body, "max_tokens": 8}

        def post(call: Call, body: dict[str, Any]) -> httpx.Response:
            return httpx.post(running.url + call.path, json=body, headers=headers, timeout=60)

        streamed = post(CHAT, {**chat, "stream": True, "stream_options": {"include_usage": True}})
        whole = post(CHAT, chat)
        completed = post(COMPLETION, COMPLETION.streamed())

    assert streamed.text.endswith("data: [DONE]\n\n")
    for usage in (
        orjson.loads(streamed.text.split("data: ")[-2])["usage"],
        whole.json()["usage"],
    ):
        assert usage["prompt_tokens"] > 0
        assert 0 < usage["completion_tokens"] <= 8
    assert whole.json()["choices"][0]["finish_reason"] in {"stop", "length"}
    assert completed.status_code == 200


@pytest.mark.parametrize("key", ["openai_chat", "openai_text", "llamacpp"])
async def test_the_server_is_asked_for_its_models_and_its_context(
    small_llm_url: str, key: str
) -> None:
    serving_format = SERVING_FORMATS[key]
    serving = make_serving(serving_format=key, model_identifier="smollm2-135m-instruct")
    models, context = serving_format.list_models(), serving_format.find_context(serving)
    assert models is not None
    assert context is not None

    async with a_door() as door:
        bodies = [
            await door.fetch(
                get(small_llm_url, key, inquiry.request.path), CHAT_CLOCKS, headers_by=soon()
            )
            for inquiry in (models, context)
        ]

    assert models.read(bodies[0]) == ("smollm2-135m-instruct",)
    assert context.read(bodies[1]) == 4096


async def test_a_model_that_cannot_fill_gaps_refuses_to(small_llm_url: str) -> None:
    """SmolLM2 has no tokens for it, which is why this is only used where it was seen to work."""
    gap = Completion(Sampling(8), fill_in_middle=FillInMiddle("def area(", "return 2"))
    wire = SERVING_FORMATS["llamacpp"].build_request(
        make_serving(fills_in_middle=True), gap, stream=True
    )
    request = replace(
        get(small_llm_url, "llamacpp", wire.path),
        method=wire.method,
        headers={"Content-Type": "application/json"},
        body=orjson.dumps(wire.body),
    )

    async with a_door() as door:
        with pytest.raises(UpstreamRejected) as caught:
            await door.open_stream(
                request, CHAT_CLOCKS, headers_by=soon(), framings=SERVER_SENT_EVENTS
            )

    assert (wire.path, caught.value.status) == ("/infill", 501)


@asynccontextmanager
async def a_door() -> AsyncIterator[OutboundDoor]:
    door = OutboundDoor(UrlPolicy(allowed_hosts=["127.0.0.1"]))
    try:
        yield door
    finally:
        await door.aclose()


def get(small_llm_url: str, key: str, path: str) -> OutboundRequest:
    """Return a request to the server's root, or to /v1 for OpenAI's formats."""
    url = small_llm_url if key.startswith("openai") else small_llm_url.removesuffix("/v1")
    return OutboundRequest("llama.cpp", parse_endpoint(url), path, method="GET")


def soon() -> float:
    return asyncio.get_running_loop().time() + CHAT_CLOCKS.first_token_s


def test_code_is_completed_by_the_text_endpoint(
    real_gateway: Gateway, headers: dict[str, str]
) -> None:
    response = httpx.post(
        real_gateway.url + COMPLETION.path, json=COMPLETION.body, headers=headers, timeout=60
    )

    assert response.status_code == 200
    assert response.json()["model"]["lang"] == "python"
    assert len(response.json()["choices"]) <= 1


def test_code_is_refused_to_the_issued_token_where_the_contract_says_so(
    real_gateway: Gateway, headers: dict[str, str]
) -> None:
    response = httpx.post(
        real_gateway.url + GENERATION.path, json=GENERATION.body, headers=headers, timeout=60
    )

    assert response.status_code == 403


def test_the_model_stops_generating_when_the_client_leaves(
    real_gateway: Gateway, headers: dict[str, str], small_llm_url: str
) -> None:
    long_answer = Call(
        CHAT.path,
        CHAT.scope,
        CHAT.feature,
        {**CHAT.body, "messages": [{"role": "user", "content": "Count from 1 to 500."}]},
    )

    with leaving_client(real_gateway.url, long_answer, headers, stream=True) as client:
        client.getresponse().read1(64)

    assert _becomes_idle(small_llm_url)


def _becomes_idle(small_llm_url: str) -> bool:
    """Ask llama.cpp, again and again, whether a slot still generates."""
    slots_url = small_llm_url.removesuffix("/v1") + "/slots"
    with httpx.Client() as client:
        for _ in range(500):
            if not any(slot["is_processing"] for slot in client.get(slots_url).json()):
                return True
    return False


def test_a_trusted_instance_may_generate_code(
    tmp_path_factory: pytest.TempPathFactory, small_llm_url: str
) -> None:
    with (
        GitLab() as instance,
        gateway(tmp_path_factory.mktemp("trusting"), AIGW_GITLAB_URL=instance.url) as running,
    ):
        deployment = {
            "name": "chat",
            "family": "general",
            "serving_format": "openai_chat",
            "endpoints": [small_llm_url],
            "model_identifier": "smollm2-135m-instruct",
            "context_tokens": 1024,
        }
        running.apply([deployment], {"code_generations": ["chat"]})
        token = instance.mint([GENERATION.scope])

        response = httpx.post(
            running.url + GENERATION.path,
            json=GENERATION.streamed(),
            headers=instance.headers(token),
            timeout=60,
        )

    assert response.status_code == 200
    assert response.text.strip()
