"""Inputs no prompt can use: told by their name, and nothing reaches the model."""

from typing import Any

import httpx
import orjson
import pytest

from feature_config.catalogue import WIRE_PROMPTS, Feature
from gateway.inbound.handler import GatewayHandler
from selfhosted_models.families import ModelFamily
from tests.unit.gateway.asgi import Answer, Client
from tests.unit.gateway.parts import ModelServer, prompts, runtime, serving, snapshot
from tests.unit.gateway.signing import headers, mint


def required_of(prompt_id: str) -> list[str]:
    definition = prompts().find(WIRE_PROMPTS[prompt_id].prompt, ["general"])
    return [spec.name for spec in definition.inputs.values() if spec.is_required]


MEGABYTE = 1024 * 1024
SUMMARY = "/v1/prompts/summarize_new_merge_request"
REVIEWERS = "/v1/prompts/suggested_reviewers"
FORECAST = "/v1/prompts/value_stream_forecasting"
QUESTION = "/v1/prompts/categorize_question"
COMPLETION = "/v1/prompts/code_suggestions/completions"
PEOPLE: dict[str, Any] = {"candidates": [], "changed_files": []}
SERIES: dict[str, Any] = {"metric": "deploys", "series": []}
REQUIRING = [name for name in WIRE_PROMPTS if name != "chat/react" and required_of(name)]
RTL = "\u202eمرحبا بالعالم שלום"


def model_server() -> ModelServer:
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}}
    return ModelServer(httpx.Response(200, json={"choices": [choice]}))


def client(server: ModelServer) -> Client:
    house = serving(
        "house",
        family=ModelFamily.GENERAL,
        serving_format="openai_chat",
        context_tokens=8192,
    )
    return Client(
        GatewayHandler(runtime(server, snapshot([house], {name: ["house"] for name in Feature})))
    )


def every_scope() -> dict[str, str]:
    scopes = {prompt.unit_primitive for prompt in WIRE_PROMPTS.values()}
    return headers(mint(scopes=[*scopes]))


async def ask(server: ModelServer, path: str, inputs: Any) -> Answer:
    return await client(server).post(path, every_scope(), json={"inputs": inputs})


DIFF = "extracted_diff"
LONG_QUESTION = {"question": "x" * MEGABYTE, "previous_answer": ""}
BAD = {
    "missing": (SUMMARY, {}, DIFF),
    "misspelt": (SUMMARY, {"extracted diff": "x"}, DIFF),
    "list for text": (SUMMARY, {DIFF: ["x"]}, DIFF),
    "object for text": (SUMMARY, {DIFF: {"a": 1}}, DIFF),
    "truth for text": (SUMMARY, {DIFF: True}, DIFF),
    "binary": (SUMMARY, {DIFF: "a\0b"}, DIFF),
    "megabyte": (QUESTION, LONG_QUESTION, "question"),
    "right-to-left megabyte": (SUMMARY, {DIFF: "ש" * MEGABYTE}, DIFF),
    "object for list": (REVIEWERS, {**PEOPLE, "candidates": {"a": 1}}, "candidates"),
    "too many": (REVIEWERS, {**PEOPLE, "candidates": ["a"] * 501}, "candidates"),
    "binary item": (REVIEWERS, {**PEOPLE, "changed_files": ["a\0"]}, "changed_files"),
    "text for number": (REVIEWERS, {**PEOPLE, "limit": "many"}, "limit"),
    "none wanted": (REVIEWERS, {**PEOPLE, "limit": 0}, "limit"),
    "number too large": (FORECAST, {**SERIES, "horizon": 10**6}, "horizon"),
    "broken number": (FORECAST, {**SERIES, "horizon": 2.5}, "horizon"),
    "one of two missing": (COMPLETION, {"prefix": "x"}, "suffix"),
}


@pytest.mark.parametrize(("path", "inputs", "name"), BAD.values(), ids=BAD)
async def test_bad_input_is_422_with_its_name(path: str, inputs: Any, name: str) -> None:
    server = model_server()

    answer = await ask(server, path, inputs)

    assert answer.status == 422
    assert name in answer.json["detail"]
    assert answer.json["code"] in {"input_missing", "input_invalid"}
    assert len(answer.body) < 500
    assert server.requests == []


@pytest.mark.parametrize("inputs", ["text", ["list"], 7, None])
async def test_inputs_that_are_no_object_are_422(inputs: Any) -> None:
    server = model_server()

    answer = await ask(server, SUMMARY, inputs)

    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body", "inputs"]
    assert server.requests == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": {"extracted_diff": "\xff\xfe"}}',
        b'{"inputs": {"extracted_diff": "\xed\xa0\x80"}}',
        b'{"inputs": {"extracted_diff": "\\ud800"}}',
        b'{"inputs": {"extracted_diff": "\x00"}}',
        "{}".encode("utf-16"),
    ],
    ids=["latin", "surrogate", "half a pair", "raw NUL", "UTF-16"],
)
async def test_body_that_is_not_utf_8_is_422(body: bytes) -> None:
    server = model_server()

    answer = await client(server).post(SUMMARY, every_scope(), parts=[body])

    assert (answer.status, answer.json["code"]) == (422, "json_invalid")
    assert server.requests == []


@pytest.mark.parametrize("prompt_id", REQUIRING)
async def test_every_required_input_is_named_when_it_is_missing(prompt_id: str) -> None:
    server = model_server()

    answer = await ask(server, f"/v1/prompts/{prompt_id}", {})

    assert answer.status == 422
    assert all(name in answer.json["detail"] for name in required_of(prompt_id))
    assert server.requests == []


async def test_extra_inputs_are_ignored() -> None:
    server = model_server()

    answer = await ask(server, SUMMARY, {"extracted_diff": "+x", "secret": "hunter2", "n": {}})

    assert answer.status == 200
    assert b"hunter2" not in server.requests[0].content


async def test_right_to_left_text_arrives_as_it_is() -> None:
    server = model_server()

    answer = await ask(server, SUMMARY, {"extracted_diff": RTL})

    assert answer.status == 200
    assert RTL in orjson.loads(server.requests[0].content)["messages"][-1]["content"]


async def test_largest_diff_that_is_taken_is_cut_to_the_context() -> None:
    server = model_server()

    answer = await ask(server, SUMMARY, {"extracted_diff": "+ x = 1\n" * 125_000})

    sent = orjson.loads(server.requests[0].content)["messages"][-1]["content"]
    assert answer.status == 200
    assert 8192 < len(sent) < 8192 * 4
