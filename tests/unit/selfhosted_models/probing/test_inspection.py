"""What is behind a pasted URL, for each kind of server and each kind of mistake."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import httpx
import pytest

from selfhosted_models.endpoints import UrlPolicy
from selfhosted_models.errors import EndpointRefused
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.probing.inspection import Inspection, inspect
from selfhosted_models.probing.outcomes import Outcome
from selfhosted_models.serving_formats.base import Inquiry
from selfhosted_models.serving_formats.registry import SERVING_FORMATS
from selfhosted_models.transport import RefusedAddress
from tests.factories import make_serving
from tests.fakes.loopback import json_body
from tests.unit.selfhosted_models.doors import Parts, door_that

HOST = "http://10.0.4.11:8000"
MODELS = {"data": [{"id": "mixtral-8x7b", "max_model_len": 32_768}, {"id": "codegemma-2b"}]}
VLLM = {"GET /v1/models": MODELS}
OLLAMA = {
    "GET /api/tags": {"models": [{"name": "mistral:latest"}]},
    "GET /api/ps": {"models": [{"name": "mistral:latest", "context_length": 4096}]},
    "GET /v1/models": {"data": [{"id": "mistral:latest"}]},
}
LLAMACPP = {
    "GET /v1/models": {"data": [{"id": "qwen", "meta": {"n_ctx": 2048}}]},
    "GET /models": {"data": [{"id": "qwen", "meta": {"n_ctx": 2048}}]},
    "GET /api/tags": {"models": [{"name": "qwen"}]},
    "GET /props": {"default_generation_settings": {"n_ctx": 2048}},
}
TGI = {"GET /info": {"model_id": "tgi-model", "max_total_tokens": 8192}}
TRITON = {"POST /v2/repository/index": [{"name": "ensemble", "state": "READY"}]}


class Host:
    """Answers some paths with JSON, every other with 404; remembers what was asked."""

    def __init__(self, answers: Mapping[str, Any], *, key: str | None = None) -> None:
        self.answers = answers
        self.key = key
        self.asked: list[str] = []

    def respond(self, request: httpx.Request) -> httpx.Response:
        asked = f"{request.method} {request.url.path}"
        self.asked.append(asked)
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return httpx.Response(401, stream=Parts(b"zebra-7"))
        answer = self.answers.get(asked)
        if answer is None:
            return httpx.Response(404, stream=Parts(b"zebra-7"))
        body = answer if isinstance(answer, bytes) else json_body(answer)
        return httpx.Response(200, stream=Parts(body))


async def inspected(answers: Mapping[str, Any], url: str = HOST, api_key: str = "") -> Inspection:
    return await inspect(door_that(Host(answers).respond), url, api_key)


def best(found: Inspection) -> tuple[str, str, str, str, int | None]:
    first = found.suggestions[0]
    return (
        first.url,
        first.serving_format,
        first.model_identifier,
        first.family.value,
        first.context_tokens,
    )


# --- What it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (VLLM, (f"{HOST}/v1", "openai_chat", "mixtral-8x7b", "mixtral-8x7b-instruct", 32_768)),
        (OLLAMA, (HOST, "ollama", "mistral:latest", "mistral-7b", 4096)),
        (LLAMACPP, (f"{HOST}/v1", "openai_chat", "qwen", "general", 2048)),
        (TGI, (HOST, "tgi", "tgi-model", "general", 8192)),
        (TRITON, (HOST, "triton", "ensemble", "general", None)),
    ],
    ids=["vllm", "ollama", "llamacpp", "tgi", "triton"],
)
async def test_each_kind_of_server_is_known(
    answers: Mapping[str, Any], expected: tuple[str, str, str, str, int | None]
) -> None:
    found = await inspected(answers)

    assert found.outcome is Outcome.OK
    assert best(found) == expected
    assert found.corrected_url == (expected[0] if expected[0] != HOST else None)


async def test_code_models_are_suggested_as_text() -> None:
    found = await inspected(VLLM)

    assert [(each.model_identifier, each.serving_format) for each in found.suggestions] == [
        ("mixtral-8x7b", "openai_chat"),
        ("codegemma-2b", "openai_text"),
    ]


async def test_other_ways_to_speak_to_it_are_told_too() -> None:
    found = await inspected(LLAMACPP)

    spoken = {each.serving_format: each.url for each in found.formats}
    assert spoken["llamacpp"] == HOST
    assert "ollama" not in spoken  # it lists its models as Ollama does, and is none


@pytest.mark.parametrize("key", SERVING_FORMATS)
async def test_every_format_is_found_by_what_its_own_documentation_shows(key: str) -> None:
    wire = import_module(f"tests.unit.selfhosted_models.serving_formats.{key}.wire").WIRE
    serving_format = SERVING_FORMATS[key]
    asked: tuple[tuple[Inquiry[Any] | None, Any], ...] = (
        (serving_format.find_context(make_serving()), wire.context),
        (serving_format.list_models(), wire.models),
    )
    answers = {
        f"{inquiry.request.method} {serving_format.base_path}{inquiry.request.path}": told[0]
        for inquiry, told in asked
        if inquiry is not None
    }

    found = await inspected(answers, HOST + serving_format.base_path)

    assert found.outcome is Outcome.OK
    assert key in {each.serving_format for each in found.formats}


# --- Mistakes in the URL -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pasted",
    [
        "10.0.4.11:8000",
        f"  {HOST}/  ",
        f"{HOST}/v1",
        f"{HOST}/v1/",
        f"{HOST}/v1/models",
        f"{HOST}/v1/chat/completions",
        f"{HOST}/docs",
    ],
)
async def test_a_url_is_corrected(pasted: str) -> None:
    found = await inspected(VLLM, pasted)

    assert best(found)[:2] == (f"{HOST}/v1", "openai_chat")
    is_right = pasted.rstrip("/").endswith("/v1")
    assert found.corrected_url == (None if is_right else f"{HOST}/v1")
    assert ("Register it as" in found.message) is not is_right


@pytest.mark.parametrize(
    ("pasted", "serving_format"),
    [
        (f"{HOST}/v1/completions", "openai_text"),
        (f"{HOST}/v1/fim/completions", "mistral_fim"),
        (f"{HOST}/infill", "llamacpp"),
        (f"{HOST}/v1/chat/completions", "openai_chat"),
    ],
)
async def test_an_operation_in_the_url_says_which_format_is_meant(
    pasted: str, serving_format: str
) -> None:
    assert best(await inspected(LLAMACPP, pasted))[1] == serving_format


async def test_a_server_below_a_path_is_found_there() -> None:
    found = await inspected({"GET /llm/v1/models": MODELS}, f"{HOST}/llm")

    assert best(found)[0] == f"{HOST}/llm/v1"


@pytest.mark.parametrize("pasted", ["ftp://gpu1", "http://user:pw@gpu1", "http://gpu1/?a=b", ""])
async def test_what_is_no_url_is_not_dialled(pasted: str) -> None:
    host = Host(VLLM)

    found = await inspect(door_that(host.respond), pasted)

    assert found.outcome is Outcome.BLOCKED
    assert found.message
    assert host.asked == []


# --- Keys ----------------------------------------------------------------------------------------


async def test_a_server_that_wants_a_key() -> None:
    host = Host(VLLM, key="sk-right")

    without = await inspect(door_that(host.respond), HOST)
    wrong = await inspect(door_that(host.respond), HOST, "sk-wrong")
    right = await inspect(door_that(host.respond), HOST, " sk-right\n")

    assert (without.outcome, without.needs_key) == (Outcome.AUTH_FAILED, True)
    assert "wants an API key" in without.message
    assert (wrong.outcome, wrong.needs_key) == (Outcome.AUTH_FAILED, True)
    assert "check its API key" in wrong.message
    assert "sk-wrong" not in str(wrong)
    assert right.outcome is Outcome.OK


async def test_a_key_that_no_header_can_carry_is_not_sent() -> None:
    host = Host(VLLM)

    found = await inspect(door_that(host.respond), HOST, "sk two\nthree")

    assert found.outcome is Outcome.AUTH_FAILED
    assert host.asked == []


# --- What goes wrong -----------------------------------------------------------------------------


def raising(error: Exception) -> OutboundDoor:
    def respond(request: httpx.Request) -> httpx.Response:
        raise error

    return door_that(respond)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ConnectError("zebra-7"), Outcome.REFUSED),
        (TimeoutError("zebra-7"), Outcome.TIMEOUT),
        (RefusedAddress(EndpointRefused("Not there.")), Outcome.BLOCKED),
    ],
)
async def test_no_answer_is_told_at_once(error: Exception, outcome: Outcome) -> None:
    found = await inspect(raising(error), HOST)

    assert found.outcome is outcome
    assert "zebra" not in found.message


async def test_a_denied_address() -> None:
    found = await inspect(OutboundDoor(UrlPolicy()), "http://169.254.169.254/latest")

    assert found.outcome is Outcome.BLOCKED
    assert "never dialled" in found.message


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"<html>zebra-7", Outcome.UNKNOWN_FORMAT),
        (200, b'{"zebra-7": 1}', Outcome.UNKNOWN_FORMAT),
        (404, b"zebra-7", Outcome.UNKNOWN_FORMAT),
        (302, b"zebra-7", Outcome.UNKNOWN_FORMAT),
        (503, b"zebra-7", Outcome.SERVER_ERROR),
        (500, b"zebra-7", Outcome.SERVER_ERROR),
    ],
)
async def test_what_is_no_model_server_is_told_and_not_quoted(
    status: int, body: bytes, outcome: Outcome
) -> None:
    found = await inspect(door_that(lambda _: httpx.Response(status, stream=Parts(body))), HOST)

    assert found.outcome is outcome
    assert f"The server at {HOST}" in found.message
    assert "zebra" not in str(found)


async def test_a_server_without_models_says_to_load_one() -> None:
    found = await inspected({"GET /v1/models": {"data": []}})

    assert found.outcome is Outcome.OK
    assert found.suggestions == ()
    assert "load one" in found.message
    assert found.corrected_url == f"{HOST}/v1"


async def test_what_a_server_tells_is_used_only_where_it_can_be() -> None:
    names = ["good", "b ad", "x" * 300, "", "<b>"]
    models = [{"id": name, "max_model_len": 99_999_999_999} for name in names]

    found = await inspected({"GET /v1/models": {"data": models}})

    assert [each.model_identifier for each in found.suggestions] == ["good", "<b>"]
    assert {each.context_tokens for each in found.suggestions} == {None}


async def test_questions_are_few_and_none_is_asked_twice() -> None:
    host = Host({})

    await inspect(door_that(host.respond), f"{HOST}/a/b/c/d/e/f/v1")

    assert len(host.asked) == len(set(host.asked))
    assert len(host.asked) <= 24
