"""Clients that send half a request and wait: on real sockets, in a time that passes by itself."""

import asyncio

import pytest

from gateway.inbound.bodies import BODY_WITHIN_S
from gateway.inbound.protocol import HEAD_WITHIN_S
from tests.e2e.callers import CHAT
from tests.e2e.in_process import open_gateway
from tests.unit.gateway import parts, virtual_time
from tests.unit.gateway.signing import headers, mint

HEAD = [f"POST {CHAT.path} HTTP/1.1", "Host: gateway", "Content-Length: 100"]
SIGNED = [*HEAD, *(f"{name}: {value}" for name, value in headers(mint()).items())]


def answer_to(sent: bytes) -> tuple[bytes, float]:
    """Return what came back until the connection was closed, and after how many seconds."""

    async def main() -> tuple[bytes, float]:
        loop = asyncio.get_running_loop()
        async with open_gateway([parts.serving()]) as gateway:
            url = gateway.client.base_url
            reader, writer = await asyncio.open_connection(url.host, url.port)
            began = loop.time()
            writer.write(sent)
            answer = await reader.read()
            writer.close()
            return answer, loop.time() - began

    return virtual_time.run(main())


@pytest.mark.parametrize(
    "sent", [b"", b"POST /v1", "\r\n".join(HEAD).encode()], ids=["nothing", "a line", "a head"]
)
def test_half_a_head_is_cut_off(sent: bytes) -> None:
    answer, after_s = answer_to(sent)

    assert answer == b""
    assert after_s == pytest.approx(HEAD_WITHIN_S, abs=1)


def test_half_a_body_is_told_and_cut_off() -> None:
    answer, after_s = answer_to("\r\n".join([*SIGNED, "", '{"model": ']).encode())

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"body_timeout" in answer
    assert after_s == pytest.approx(BODY_WITHIN_S, abs=1)
