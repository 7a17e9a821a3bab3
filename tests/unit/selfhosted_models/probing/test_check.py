from importlib import import_module
from typing import Any

import httpx
import pytest

from selfhosted_models.errors import (
    DeploymentError,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamUnreachable,
)
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.probing.check import check_endpoint
from selfhosted_models.secrets import Secret
from selfhosted_models.serving_formats.registry import SERVING_FORMATS
from tests.factories import make_serving
from tests.unit.selfhosted_models.doors import PATIENT, Parts, door_that

LISTING = b'{"data": [{"id": "some-model"}]}'
ANSWER = b'{"choices": [{"message": {"content": "Hi"}, "finish_reason": "length"}]}'


async def check(door: OutboundDoor, **overrides: Any) -> None:
    serving = make_serving(**overrides)
    await check_endpoint(door, serving, serving.endpoints[0], PATIENT)


def server(*, models: tuple[int, bytes], chat: tuple[int, bytes] = (404, b"")) -> OutboundDoor:
    def answer(request: httpx.Request) -> httpx.Response:
        status, body = models if request.method == "GET" else chat
        return httpx.Response(status, stream=Parts(body))

    return door_that(answer)


async def test_a_server_that_lists_its_models_is_well_and_is_asked_nothing_else() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url} {request.headers['authorization']}")
        return httpx.Response(200, stream=Parts(LISTING))

    await check(door_that(answer), api_key=Secret("sk-1"))

    assert asked == ["GET http://10.0.4.11:8000/v1/models Bearer sk-1"]


@pytest.mark.parametrize("key", SERVING_FORMATS)
async def test_each_format_is_checked_by_its_own_listing(key: str) -> None:
    told, _ = import_module(f"tests.unit.selfhosted_models.serving_formats.{key}.wire").WIRE.models

    await check(door_that(lambda _: httpx.Response(200, stream=Parts(told))), serving_format=key)


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_without_a_list_is_asked_for_one_token(status: int) -> None:
    await check(server(models=(status, b""), chat=(200, ANSWER)))


async def test_a_wrong_path_is_told_as_a_request_would_be() -> None:
    with pytest.raises(UpstreamRejected, match="does it end in /v1"):
        await check(server(models=(404, b"")))


@pytest.mark.parametrize(
    ("models", "error"),
    [
        ((401, b""), UpstreamRejected),
        ((503, b""), UpstreamRejected),
        ((200, b"<html>zebra-7</html>"), UpstreamProtocolError),
        ((200, b'{"error": "zebra-7"}'), UpstreamRejected),
    ],
)
async def test_what_is_wrong_is_typed_and_never_quoted(
    models: tuple[int, bytes], error: type[DeploymentError]
) -> None:
    with pytest.raises(error) as caught:
        await check(server(models=models, chat=(200, ANSWER)))

    assert "zebra" not in caught.value.safe_message


async def test_a_server_that_is_not_there() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(UpstreamUnreachable, match="codegemma cannot be reached"):
        await check(door_that(answer))
