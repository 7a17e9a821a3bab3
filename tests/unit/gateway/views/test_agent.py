"""What ends an agent's step before or beside the model: always a line, never a broken answer."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from feature_config.catalogue import Feature
from gateway.inbound.handler import GatewayHandler
from selfhosted_models.families import ModelFamily
from tests.unit.gateway.asgi import Answer, Client
from tests.unit.gateway.parts import (
    EventBody,
    ModelServer,
    chat_event,
    runtime,
    serving,
    snapshot,
    streamed,
)
from tests.unit.gateway.signing import headers, mint

PATH = "/v2/chat/agent"
FLAG = "ai_commit_reader_for_chat"
BODY = {"messages": [{"role": "user", "content": "What is CI?"}]}


def client(model_server: ModelServer, **deployment: Any) -> Client:
    values = {"family": ModelFamily.GENERAL, "serving_format": "openai_chat", **deployment}
    serves = snapshot([serving("general-a", **values)], {Feature.DUO_CHAT: ["general-a"]})
    return Client(GatewayHandler(runtime(model_server, serves)))


async def ask(model_server: ModelServer, body: dict[str, Any], **deployment: Any) -> Answer:
    sent = headers(mint(scopes=["duo_chat", "ask_issue"]))
    return await client(model_server, **deployment).post(PATH, sent, json=body)


def says(*texts: str) -> ModelServer:
    events = [chat_event(text) for text in texts]
    return ModelServer(streamed(EventBody(*events, chat_event("", "stop"), "[DONE]")))


async def test_each_event_is_sent_on_its_own() -> None:
    answer = await ask(says("Final Answer: C", "on", "tinuous"), BODY)

    texts = [orjson.loads(part)["data"]["text"] for part in answer.parts]
    assert (answer.status, answer.is_complete) == (200, True)
    assert texts == ["C", "on", "tinuous"]


async def test_deployment_without_an_endpoint_is_told_in_a_line() -> None:
    answer = await ask(says("x"), BODY, endpoints=[])

    (part,) = answer.parts
    assert (answer.status, answer.is_complete) == (200, True)
    assert orjson.loads(part)["type"] == "error"


async def test_question_that_does_not_fit_the_model_is_told_in_a_line() -> None:
    long = {"messages": [{"role": "user", "content": "why? " * 5000}]}
    server = says("x")

    answer = await ask(server, long, context_tokens=2048)

    (part,) = answer.parts
    line = orjson.loads(part)
    assert (line["type"], line["data"]["retryable"]) == ("error", False)
    assert server.requests == []


async def test_old_steps_go_before_the_question_does() -> None:
    steps = [
        {"thought": f"t{n}", "tool": "issue_reader", "tool_input": "5", "observation": "x " * 2000}
        for n in range(3)
    ]
    options = {"agent_scratchpad": {"agent_type": "react", "steps": steps}}
    server = says("Final Answer: ok")

    await ask(server, {**BODY, "options": options}, context_tokens=4096)

    sent = server.requests[0].content.decode()
    assert "What is CI?" in sent
    assert "Thought: t0" not in sent


@pytest.mark.parametrize("count", [0, 1])
async def test_caller_that_leaves_closes_what_was_asked(count: int) -> None:
    body = EventBody(*[chat_event("Final Answer: C")] * count, asyncio.Event())
    sent = headers(mint(scopes=["duo_chat"]))
    call = client(ModelServer(streamed(body))).call("POST", PATH, sent, json=BODY)

    running = asyncio.ensure_future(call.run())
    await body.is_waiting.wait()
    call.left.set()
    answer = await running

    assert body.is_closed
    assert not answer.is_complete


@pytest.mark.parametrize(
    ("disallowed", "kind"), [({}, "action"), ({"self-managed": frozenset({FLAG})}, "error")]
)
async def test_flag_the_operator_disallows_brings_no_tool(
    disallowed: dict[str, frozenset[str]], kind: str
) -> None:
    model_server = says("Thought: read\nAction: commit_reader\nAction Input: 3f2a9c1")
    values = {"family": ModelFamily.GENERAL, "serving_format": "openai_chat"}
    serves = snapshot([serving("general-a", **values)], {Feature.DUO_CHAT: ["general-a"]})
    running = runtime(model_server, serves)
    running.options = replace(running.options, disallowed_flags=disallowed)
    sent = headers(mint(scopes=["duo_chat", "ask_commit"]))
    sent |= {"X-Gitlab-Version": "18.0.0", "x-gitlab-enabled-feature-flags": FLAG}

    answer = await Client(GatewayHandler(running)).post(PATH, sent, json=BODY)

    assert [orjson.loads(part)["type"] for part in answer.parts] == [kind]
