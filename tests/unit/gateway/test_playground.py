"""Trying a feature out: events of an answer through the live path, and the command for the same."""

import json
import shlex
from typing import Any

import httpx
import pytest

from feature_config.catalogue import PROMPT_IDS, Feature
from gateway.playground import Trial, ask
from gateway.runtime import Runtime
from selfhosted_models.families import ModelFamily
from tests.unit.gateway.parts import (
    EventBody,
    ModelServer,
    chat_event,
    runtime,
    serving,
    snapshot,
    streamed,
)

GIT = Feature.GIT_SUGGESTIONS


def serves(server: ModelServer) -> Runtime:
    chat: dict[str, Any] = {"family": ModelFamily.GENERAL, "serving_format": "openai_chat"}
    servings = [serving(name, **chat) for name in ("house", "spare")]
    return runtime(server, snapshot(servings, {GIT: ["house"]}))


def trial(feature: Feature = GIT, deployment: str = "", **inputs: Any) -> Trial:
    return Trial(feature, deployment, inputs or {"prompt": "undo my last commit"})


async def events_of(served: Runtime, tried: Trial) -> list[dict[str, Any]]:
    return [event async for event in ask(served, tried, "alice")]


def says(*texts: str) -> tuple[EventBody, ModelServer]:
    body = EventBody(*map(chat_event, texts), "[DONE]")
    return body, ModelServer(streamed(body))


async def test_text_comes_as_it_is_written_and_timings_last() -> None:
    _, server = says("git ", "reset")
    served = serves(server)

    *texts, end = await events_of(served, trial())

    assert texts == [{"text": "git "}, {"text": "reset"}]
    timings = end["end"]
    assert timings["deployment"] == "house"
    assert timings["prompt"].startswith("git_suggestions/general/")
    assert 0 <= timings["first_content_ms"] <= timings["total_ms"]
    assert served.quotas.in_flight == 0


async def test_another_deployment_is_asked_in_place_of_the_choice() -> None:
    _, server = says("yes")

    end = (await events_of(serves(server), trial(deployment="spare")))[-1]

    assert end["end"]["deployment"] == "spare"


async def test_failure_is_told_with_its_code_and_what_to_do() -> None:
    served = serves(ModelServer(httpx.Response(401, json={"error": "secret words"})))

    error, end = await events_of(served, trial())

    assert error["error"]["code"] == "upstream_rejected"
    assert "secret words" not in error["error"]["message"]
    assert end["end"]["first_content_ms"] is None
    assert served.quotas.in_flight == 0


async def test_a_shut_gate_asks_nobody() -> None:
    _, server = says("never")

    error, _ = await events_of(serves(server), trial(Feature.CODE_GENERATIONS))

    assert error["error"]["code"] == "deployment_missing"
    assert server.requests == []


async def test_inputs_that_do_not_fit_are_told() -> None:
    _, server = says("never")

    error, _ = await events_of(serves(server), Trial(GIT, "", {}))

    assert error["error"]["code"] == "input_missing"


async def test_who_leaves_closes_the_connection_to_the_model_server() -> None:
    body, server = says(*["word "] * 50)
    served = serves(server)

    events = ask(served, trial(), "alice")
    assert await anext(events) == {"text": "word "}
    await events.aclose()

    assert body.is_closed
    assert served.quotas.in_flight == 0


def test_command_asks_the_same_with_any_quote_in_it() -> None:
    command = trial(prompt='don\'t lose my "work"\n').curl("https://ai.example.com")

    words = shlex.split(command.replace("\\\n", " "))
    assert words[2] == f"https://ai.example.com/v1/prompts/{PROMPT_IDS[GIT]}"
    assert json.loads(words[words.index("-d") + 1]) == {
        "inputs": {"prompt": 'don\'t lose my "work"\n'},
        "stream": True,
    }
    assert "--scopes glab_ask_git_command" in command


def test_command_of_the_chat_is_that_of_any_client() -> None:
    messages = [{"role": "user", "content": "Hello"}]

    command = Trial(Feature.DUO_CHAT, "", {"messages": messages}).curl("http://localhost:8000")

    assert "http://localhost:8000/openai/v1/chat/completions" in command
    assert '"model": "duo_chat"' in command


def test_command_for_a_chosen_deployment_sends_it_the_prompt_as_it_is() -> None:
    chosen = Trial(GIT, "gpu 1", {"prompt": "undo"})
    sampling = {"max_output_tokens": 64, "temperature": 0.0, "top_p": None, "stop": list("abcdef")}
    chat = {"messages": [{"role": "user", "content": "Undo."}], "parameters": sampling}
    text = {"text": "<fim>", "parameters": {**sampling, "stop": []}}

    of_chat, of_text = (chosen.curl("http://x", prompt) for prompt in (chat, text))

    assert "http://x/openai/v1/chat/completions" in of_chat
    assert "--scopes use_deployments_directly" in of_chat
    words = shlex.split(of_chat.replace("\\\n", " "))
    assert json.loads(words[words.index("-d") + 1]) == {
        "model": "deployment:gpu 1",
        "messages": [{"role": "user", "content": "Undo."}],
        "max_tokens": 64,
        "temperature": 0.0,
        "stop": list("abcd"),
        "stream": True,
    }
    assert "http://x/openai/v1/completions" in of_text
    assert '"prompt": "<fim>"' in of_text


@pytest.mark.parametrize("feature", list(Feature))
def test_every_feature_has_a_way_to_be_asked(feature: Feature) -> None:
    assert " http://x/" in Trial(feature, "", {}).curl("http://x")
