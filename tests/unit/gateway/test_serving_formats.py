"""Answers of every kind of model server, as a caller of the gateway gets them."""

from collections.abc import AsyncIterator
from importlib import import_module

import httpx
import orjson
import pytest

from feature_config.catalogue import Feature
from gateway.inbound.handler import GatewayHandler
from selfhosted_models.families import ModelFamily
from selfhosted_models.serving_formats.registry import SERVING_FORMATS
from tests.unit.gateway.asgi import Answer, Client
from tests.unit.gateway.inbound.test_handler import BODY, COMPLETIONS
from tests.unit.gateway.parts import ModelServer, runtime, serving, snapshot
from tests.unit.gateway.signing import headers, mint
from tests.unit.selfhosted_models.serving_formats.wire import GREETING, MARK, Wire

WIRES: dict[str, Wire] = {
    key: import_module(f"tests.unit.selfhosted_models.serving_formats.{key}.wire").WIRE
    for key in SERVING_FORMATS
}
each_format = pytest.mark.parametrize("key", SERVING_FORMATS)


class Body(httpx.AsyncByteStream):
    """An upstream body in parts; an exception among them is raised."""

    def __init__(self, *parts: bytes | Exception) -> None:
        self.parts = parts
        self.sent = 0
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            self.sent += 1
            yield part

    async def aclose(self) -> None:
        self.is_closed = True


def response(body: Body, media_type: str) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": media_type}, stream=body)


async def complete(
    key: str, server: ModelServer, *, stream: bool, family: str = "codegemma-7b-it"
) -> Answer:
    """Return a code completion, asked of a model server of this format."""
    deployment = serving(serving_format=key, family=ModelFamily(family))
    serves = snapshot([deployment], {Feature.CODE_COMPLETIONS: [deployment.deployment]})
    client = Client(GatewayHandler(runtime(server, serves)))
    return await client.post(COMPLETIONS, headers(mint()), json={**BODY, "stream": stream})


@each_format
async def test_streamed_answer_reaches_the_caller(key: str) -> None:
    wire = WIRES[key]
    body = Body(*(wire.stream[at : at + 7] for at in range(0, len(wire.stream), 7)))

    answer = await complete(key, ModelServer(response(body, wire.media_type)), stream=True)

    assert (answer.status, answer.text, answer.is_complete) == (200, GREETING, True)
    assert body.is_closed


@each_format
async def test_whole_answer_reaches_the_caller(key: str) -> None:
    server = ModelServer(httpx.Response(200, content=WIRES[key].body))

    answer = await complete(key, server, stream=False)

    assert answer.status == 200
    assert answer.json["choices"][0]["text"] == GREETING


@each_format
async def test_error_under_a_status_of_200_is_an_error_to_the_caller(key: str) -> None:
    document = next(error for error, _, is_overloaded in WIRES[key].errors if is_overloaded)
    wire = WIRES[key]
    event = document if "ndjson" in wire.media_type else b"data: " + document + b"\n\n"

    for said, media_type in ((event, wire.media_type), (document, "application/json")):
        answer = await complete(key, ModelServer(response(Body(said), media_type)), stream=True)

        assert (answer.status, "retry-after" in answer.headers) == (503, True)
        assert "overloaded_error" in answer.json["message"]
        assert MARK not in answer.text


@each_format
async def test_answer_that_breaks_off_has_no_end(key: str) -> None:
    wire = WIRES[key]
    half = wire.stream[: wire.stream.index("世界".encode())]
    body = Body(half, httpx.ReadError("reset"))

    answer = await complete(key, ModelServer(response(body, wire.media_type)), stream=True)

    assert (answer.status, answer.text, answer.is_complete) == (200, "Grüße, ", False)


@each_format
async def test_page_in_place_of_an_answer_names_the_format_to_check(key: str) -> None:
    page = httpx.Response(200, headers={"Content-Type": "text/html"}, content=b"<html>zebra-7")

    answer = await complete(key, ModelServer(page), stream=True)

    assert answer.status == 503
    assert SERVING_FORMATS[key].endpoint_hint in answer.json["message"]
    assert MARK not in answer.text


def tgi_event(text: str) -> bytes:
    return b"data:" + orjson.dumps({"token": {"text": text, "special": False}}) + b"\n\n"


async def test_stop_sequence_ends_the_answer_where_the_server_leaves_it_in() -> None:
    body = Body(*map(tgi_event, ["a = 1", "\n<|file_", "separator", "|>", "noise"]))

    answer = await complete("tgi", ModelServer(response(body, "text/event-stream")), stream=True)

    assert (answer.text, answer.is_complete) == ("a = 1\n", True)
    assert body.is_closed


async def test_stop_sequence_is_cut_from_a_whole_answer() -> None:
    document = {"generated_text": "a = 1<|fim_prefix|>", "details": {"finish_reason": "length"}}
    server = ModelServer(httpx.Response(200, json=document))

    answer = await complete("tgi", server, stream=False)

    assert answer.json["choices"][0]["text"] == "a = 1"


async def test_text_held_back_is_given_out_when_a_server_ends_without_a_word() -> None:
    body = Body(b'data: {"text_output": "a <|fim_"}\n\n')

    answer = await complete("triton", ModelServer(response(body, "text/event-stream")), stream=True)

    assert (answer.text, answer.is_complete) == ("a <|fim_", True)


async def test_gap_in_the_code_goes_to_a_server_that_fills_it() -> None:
    server = ModelServer(httpx.Response(200, content=WIRES["mistral_fim"].body))

    await complete("mistral_fim", server, stream=False, family="general")

    (asked,) = server.requests
    sent = orjson.loads(asked.content)
    code = BODY["current_file"]
    assert asked.url.path == "/v1/fim/completions"
    assert (sent["prompt"], sent["suffix"]) == (
        code["content_above_cursor"],
        code["content_below_cursor"],
    )
