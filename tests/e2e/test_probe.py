"""`manage.py probe` as operators run it: on a fake model server, and on a real small LLM."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests import services
from tests.conftest import run_service
from tests.fakes.model_server import MODEL, ModelServer
from tests.gateway_process import Gateway, gateway

CONTEXT_TOKENS = 1024
LLM = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def llm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real small LLM with a context that is soon filled, even on a busy machine."""
    start = partial(services.small_llm, context_tokens=CONTEXT_TOKENS)
    yield from run_service(start, tmp_path_factory.mktemp("llm"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("probed")) as started:
        yield started


def probe(running: Gateway, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in running.manage("probe", "--json", *arguments).splitlines()]


def register(running: Gateway, name: str, url: str, model: str) -> None:
    fields = {"family": "general", "serving_format": "openai_chat", "model_identifier": model}
    running.apply([{"name": name, "endpoints": [url], "first_token_timeout_s": 200, **fields}])


def test_a_fake_server_is_well_and_explained(running: Gateway, model_server: ModelServer) -> None:
    register(running, "fake", model_server.endpoint, MODEL)

    (checked,) = probe(running, "fake")
    (explained,) = probe(running, "--url", f"{model_server.url}/v1/chat/completions")

    assert checked["outcome"] == "ok"
    assert explained["corrected_url"] == model_server.endpoint


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_real_model_is_measured(running: Gateway, llm_url: str) -> None:
    register(running, "real", llm_url, LLM)

    *findings, fingerprint = probe(running, "real", "--fingerprint")

    states = {finding["trait"]: finding["state"] for finding in findings}
    sure = ("reachable", "authenticated", "model_found", "chat", "streaming", "stream_usage")
    assert {trait: states[trait] for trait in sure} == dict.fromkeys(sure, "yes")
    assert states["stop_sequences"] == "yes"
    assert states["system_role"] == "yes"
    assert states["fill_in_middle"] == "no"
    assert fingerprint["facts"]["context"] == CONTEXT_TOKENS
    speed = next(finding for finding in findings if finding["trait"] == "speed")
    assert speed["tokens_per_s"] > 0


def test_what_is_at_a_real_servers_root_is_found(running: Gateway, llm_url: str) -> None:
    (found,) = probe(running, "--url", llm_url.removesuffix("/v1"))

    best = found["suggestions"][0]
    assert found["corrected_url"] == llm_url
    assert (best["serving_format"], best["model_identifier"]) == ("openai_chat", LLM)
    assert best["context_tokens"] == CONTEXT_TOKENS
    assert {"openai_chat", "openai_text", "llamacpp"} <= {
        spoken["serving_format"] for spoken in found["formats"]
    }
