"""Duo Chat's documentation loop, with the index coming from a package registry.

The model asks for the documentation tool, the caller searches as GitLab does, and the model is
given the passages to answer from: by a script first, which shows what it is given, and then by a
real small LLM.
"""

import io
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import call_command
from pytest_django import Settings

from tests.fakes.model_server import ModelServer, Script
from tests.fakes.package_registry import PackageRegistryServer
from tests.gateway_process import Gateway, gateway

QUESTION = "How do I create an issue board?"
DOCUMENTATION = Path(__file__).parents[1] / "documentation"
INSTALLED_WITHIN_S = 20.0
#: Half its context of tokens, on a machine that has other things to do.
MODEL_ANSWERS_WITHIN_S = 300
USER = "e2e"


@pytest.fixture
def registry() -> Iterator[PackageRegistryServer]:
    with PackageRegistryServer() as server:
        yield server


@pytest.fixture
def fetching_gateway(
    registry: PackageRegistryServer, settings: Settings, tmp_path: Path
) -> Iterator[Gateway]:
    """A gateway of the version 17.4.2 with a key of its own; the documentation was published late.

    It has looked in the empty registry and would look again in a minute, were it not asked to.
    """
    place = {"DOCS_REGISTRY_URL": registry.url, "DOCS_REGISTRY_TOKEN": registry.token}
    for name, value in place.items():
        setattr(settings, name, value)
    index, told = str(tmp_path / "docs.sqlite3"), io.StringIO()
    source = [str(DOCUMENTATION), "--gitlab-version", "17.4.0"]
    call_command("build_docs_index", *source, "--output", index, stdout=io.StringIO())
    call_command("publish_docs_index", index, stdout=told)
    publisher = told.getvalue().split()[-1]
    published, registry.files = registry.files, defaultdict(dict)
    with gateway(
        tmp_path, **place, DOCS_TRUSTED_KEYS=publisher, GITLAB_VERSION="17.4.2"
    ) as running:
        token = running.manage("create_api_token", "ci", "--scopes", "write_configuration").strip()
        registry.files = published
        answer = httpx.post(
            f"{running.url}/api/v1/docs-indexes/check/",
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 202, answer.text
        yield running


def search(running: Gateway, headers: dict[str, str], query: str) -> list[dict[str, Any]]:
    """Search as GitLab does for the tool, until the index is there."""
    body = {
        "type": "search-docs",
        "metadata": {"source": "GitLab EE", "version": "17.4.2-ee"},
        "payload": {"query": query, "page_size": 1},
    }
    give_up_at = time.monotonic() + INSTALLED_WITHIN_S
    while True:
        answer = httpx.post(f"{running.url}/v1/search/gitlab-docs", json=body, headers=headers)
        results: list[dict[str, Any]] = answer.json()["response"]["results"]
        if results or time.monotonic() > give_up_at:
            return results
        time.sleep(0.1)  # the gateway installs beside its requests


def ask_agent(
    running: Gateway, headers: dict[str, str], *steps: dict[str, str]
) -> list[dict[str, Any]]:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": QUESTION}]}
    if steps:
        body["options"] = {"agent_scratchpad": {"agent_type": "react", "steps": [*steps]}}
    answer = httpx.post(
        f"{running.url}/v2/chat/agent", json=body, headers=headers, timeout=MODEL_ANSWERS_WITHIN_S
    )
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["data"].get("text", "") for event in events)


@pytest.mark.timeout(MODEL_ANSWERS_WITHIN_S + 60)
def test_chat_answers_from_the_documentation_a_node_fetched(
    fetching_gateway: Gateway, model_server: ModelServer, small_llm_url: str
) -> None:
    token = fetching_gateway.manage(
        "issue_token", "--user", USER, "--scopes", "duo_chat,documentation_search"
    ).strip()
    headers = {
        "Authorization": f"Bearer {token}",
        "X-Gitlab-Authentication-Type": "oidc",
        "X-Gitlab-Global-User-Id": USER,
    }
    # Half of the context is for the answer: so the real one ends soon.
    chat = {"family": "general", "serving_format": "openai_chat", "context_tokens": 1536}
    scripted = {
        **chat,
        "name": "scripted",
        "endpoints": [model_server.endpoint],
        "model_identifier": "scripted",
    }
    small_llm = {
        **chat,
        "name": "small-llm",
        "endpoints": [small_llm_url],
        "model_identifier": "smollm2-135m-instruct",
    }
    fetching_gateway.apply([scripted, small_llm], {"duo_chat": ["scripted"]})
    asks = "Look it up.\nAction: gitlab_documentation\nAction Input: create issue board\n"
    model_server.answer_with(Script(chunks=(asks,)))
    (event,) = ask_agent(fetching_gateway, headers)
    assert event["data"]["tool"] == "gitlab_documentation"

    (passage,) = search(fetching_gateway, headers, event["data"]["tool_input"])
    assert passage["content"].startswith("## Create a board")

    model_server.answer_with(Script(chunks=("Found.\nFinal Answer: Select New board.",)))
    taken = {**event["data"], "observation": passage["content"]}
    answered = ask_agent(fetching_gateway, headers, taken)
    assert text_of(answered) == "Select New board."
    assert "## Create a board" in json.dumps(model_server.exchanges[-1].json)

    fetching_gateway.apply([], {"duo_chat": ["small-llm"]})
    answered = ask_agent(fetching_gateway, headers, taken)
    # So small a model rarely writes "Final Answer:"; its words reach the user all the same.
    assert {part["type"] for part in answered} <= {"final_answer_delta", "unknown"}
    assert len(text_of(answered).split()) > 3
    assert len(model_server.exchanges) == 2
