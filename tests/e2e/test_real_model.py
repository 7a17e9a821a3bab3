"""A real small LLM, served by llama.cpp, answers through the whole gateway."""

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.callers import CALLS, CHAT, COMPLETION, GENERATION, Call, leaving_client
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
    """Those of a user whose token this gateway issued, by the operator's command."""
    scopes = ",".join(sorted({call.scope for call in CALLS}))
    token = real_gateway.manage("issue_token", "--user", USER, "--scopes", scopes).strip()
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
