"""Which addresses are dialled, what is sent to them, and what their failures are called."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport
from pytest_django import Settings

from selfhosted_models.endpoints import UrlPolicy
from selfhosted_models.errors import (
    EndpointRefused,
    UpstreamError,
    UpstreamNameUnknown,
    UpstreamTimeout,
    UpstreamTlsFailed,
    UpstreamUnreachable,
)
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.serving import Clocks
from selfhosted_models.transport import PolicyResolver
from tests.certificates import self_signed
from tests.fakes.loopback import Connection, LoopbackServer, Request
from tests.fakes.model_server import ModelServer, Script
from tests.unit.selfhosted_models.doors import (
    LOOPBACK_ALLOWED,
    MARK,
    TINY_S,
    door_that,
    fetch,
    on_sockets,
    request_to,
    soon,
)


class Names(AbstractResolver):
    """A name server that knows what a test tells it."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = addresses
        self.is_closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=found, port=port, family=family, proto=0, flags=0)
            for found in self.addresses[host]
        ]

    async def close(self) -> None:
        self.is_closed = True


class Silence(Names):
    """A name server that never answers."""

    async def resolve(self, *_: Any, **__: Any) -> list[ResolveResult]:
        await asyncio.Event().wait()
        return []


def door_with(resolver: AbstractResolver) -> OutboundDoor:
    """Return a door that looks names up here."""

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver))

    return OutboundDoor(UrlPolicy(), transport=AiohttpTransport(client=session))


async def test_name_resolves_to_addresses_that_may_be_dialled() -> None:
    resolver = PolicyResolver(UrlPolicy(), Names(gpu1=["10.0.4.11", "fd00::11"]))

    found = await resolver.resolve("gpu1", 8000)

    assert [(result["host"], result["port"]) for result in found] == [
        ("10.0.4.11", 8000),
        ("fd00::11", 8000),
    ]


@pytest.mark.parametrize(
    "addresses",
    [
        ["169.254.169.254"],
        ["10.0.4.11", "169.254.169.254"],
        ["10.0.4.11", "8.8.8.8"],
        ["::ffff:169.254.169.254", "10.0.4.11"],
        ["127.0.0.1"],
    ],
    ids=str,
)
async def test_one_refused_address_refuses_the_whole_name(addresses: list[str]) -> None:
    door = door_with(PolicyResolver(UrlPolicy(), Names(gpu1=addresses)))

    with pytest.raises(EndpointRefused):
        await fetch(door, request_to("http://gpu1/v1"))

    await door.aclose()


async def test_clock_of_the_connection_runs_while_a_name_is_looked_up() -> None:
    door = door_with(PolicyResolver(UrlPolicy(), Silence()))
    clocks = Clocks(connect_s=TINY_S, first_token_s=2, idle_s=2, total_s=2)

    with pytest.raises(UpstreamTimeout, match="not accept a connection"):
        await fetch(door, request_to("http://gpu1/v1"), clocks)

    await door.aclose()


async def test_closing_the_resolver_closes_the_one_below() -> None:
    names = Names()

    await PolicyResolver(UrlPolicy(), names).close()

    assert names.is_closed


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/v1",
        "http://[::1]/v1",
        "http://8.8.8.8/v1",
        "http://169.254.169.254/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://[fe80::1]/v1",
    ],
)
async def test_literal_that_may_not_be_dialled_is_refused_before_anything_is_sent(url: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        pytest.fail("a request was sent")

    with pytest.raises(EndpointRefused):
        await fetch(door_that(answer), request_to(url))


@on_sockets
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "0x7f000001"])
async def test_loopback_is_not_dialled_unless_listed(model_server: ModelServer, host: str) -> None:
    door = OutboundDoor(UrlPolicy())
    url = model_server.endpoint.replace("127.0.0.1", host)

    with pytest.raises(EndpointRefused, match="UPSTREAM_ALLOWED_HOSTS") as caught:
        await fetch(door, request_to(url))

    await door.aclose()
    assert caught.value.admin_message.startswith(f"{host} points at 127.0.0.1")
    assert model_server.exchanges == []


@on_sockets
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_loopback_is_dialled_once_its_host_is_listed(
    model_server: ModelServer, host: str
) -> None:
    door = OutboundDoor(UrlPolicy(allowed_hosts=[host]))
    url = model_server.endpoint.replace("127.0.0.1", host)

    await fetch(door, request_to(url))

    await door.aclose()
    assert model_server.wait_for_request().headers["host"] == url.split("/")[2]


@on_sockets
@pytest.mark.parametrize("host", ["0.0.0.0", "0x0"])
async def test_unspecified_address_is_not_dialled_even_if_listed(
    model_server: ModelServer, host: str
) -> None:
    door = OutboundDoor(UrlPolicy(["0.0.0.0/0", "::/0"], [host]))

    with pytest.raises(EndpointRefused, match="never dialled"):
        await fetch(door, request_to(model_server.endpoint.replace("127.0.0.1", host)))

    await door.aclose()
    assert model_server.exchanges == []


class RawServer(LoopbackServer):
    """Answers any request with these bytes, then closes."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer

    async def respond(self, request: Request, connection: Connection) -> None:
        connection.transport.write(self.answer)
        connection.close()


@contextlib.contextmanager
def unused_port() -> Iterator[int]:
    """Yield a port that is taken and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextlib.contextmanager
def full_port() -> Iterator[int]:
    """Yield a port whose queue of connections is full: a further one is never accepted."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@on_sockets
async def test_only_the_headers_given_are_sent(
    model_server: ModelServer, door: OutboundDoor
) -> None:
    given = {
        "Authorization": "Bearer sk-1",
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "User-Agent": "selfhosted-duo",
        "X-Request-Id": "abc",
    }

    await fetch(door, request_to(model_server.endpoint, headers=given, body=b"{}"))

    assert model_server.wait_for_request().headers == {
        **{name.lower(): value for name, value in given.items()},
        "accept-encoding": "identity",
        "content-length": "2",
        "host": model_server.url.removeprefix("http://"),
    }


@on_sockets
async def test_libraries_add_no_header_of_their_own(
    model_server: ModelServer, door: OutboundDoor
) -> None:
    await fetch(door, request_to(model_server.endpoint, path="/models", method="GET", body=None))

    assert set(model_server.wait_for_request().headers) == {"host", "accept-encoding"}


@on_sockets
async def test_cookies_are_not_kept(model_server: ModelServer, door: OutboundDoor) -> None:
    model_server.answer_with(Script(headers={"Set-Cookie": "session=1; Path=/"}))

    for _ in range(2):
        await fetch(door, request_to(model_server.endpoint))

    assert "cookie" not in model_server.wait_for_request(1).headers


@on_sockets
async def test_proxy_of_the_environment_sees_nothing(
    model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        door = OutboundDoor(LOOPBACK_ALLOWED)

        await fetch(door, request_to(model_server.endpoint))

        await door.aclose()
        assert proxy.exchanges == []
    assert len(model_server.exchanges) == 1


@on_sockets
async def test_refused_connection_is_unreachable(door: OutboundDoor) -> None:
    with unused_port() as port, pytest.raises(UpstreamUnreachable, match="server runs") as caught:
        await fetch(door, request_to(f"http://127.0.0.1:{port}/v1"))

    assert caught.value.code == "upstream_unreachable"


@on_sockets
async def test_unknown_name_is_unreachable(door: OutboundDoor) -> None:
    with pytest.raises(UpstreamNameUnknown, match="host name is not known"):
        await fetch(door, request_to("http://no-such-server.invalid/v1"))


@on_sockets
@pytest.mark.parametrize("host", ["xn--a", "xn--zz--9"])
async def test_name_that_cannot_be_one_is_unreachable(door: OutboundDoor, host: str) -> None:
    with pytest.raises(UpstreamUnreachable, match="host"):
        await fetch(door, request_to(f"http://{host}/v1"))


@on_sockets
async def test_connection_that_is_not_accepted_times_out(door: OutboundDoor) -> None:
    clocks = Clocks(connect_s=TINY_S, first_token_s=2, idle_s=2, total_s=2)

    with full_port() as port, pytest.raises(UpstreamTimeout, match="not accept a connection"):
        await fetch(door, request_to(f"http://127.0.0.1:{port}/v1"), clocks)


@on_sockets
async def test_connection_is_told_as_such_where_the_answer_has_even_less_time(
    door: OutboundDoor,
) -> None:
    clocks = Clocks(connect_s=3, first_token_s=1, idle_s=2, total_s=2)

    with full_port() as port, pytest.raises(UpstreamTimeout, match="not accept a connection"):
        await door.fetch(
            request_to(f"http://127.0.0.1:{port}/v1"), clocks, headers_by=soon(clocks.first_token_s)
        )


@on_sockets
async def test_server_without_tls_is_unreachable_by_https(
    model_server: ModelServer, door: OutboundDoor
) -> None:
    with pytest.raises(UpstreamUnreachable):
        await fetch(door, request_to(model_server.endpoint.replace("http:", "https:")))

    assert model_server.exchanges == []


@on_sockets
@pytest.mark.parametrize(
    "banner",
    [b"SSH-2.0-OpenSSH_9.2 zebra-7\r\n", b"HTTP/9.9 999 zebra-7\r\n\r\n", b"\x00\xff" * 40],
    ids=["SSH", "HTTP of no version", "noise"],
)
async def test_server_that_does_not_speak_http_is_named(door: OutboundDoor, banner: bytes) -> None:
    with RawServer(banner) as server, pytest.raises(UpstreamError) as caught:
        await fetch(door, request_to(server.url))

    assert caught.value.safe_message.startswith("gpu1 ")
    assert MARK not in str(caught.value)


@on_sockets
async def test_certificate_that_is_not_trusted_is_told_as_such(
    door: OutboundDoor, tmp_path: Path
) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(
        hang_up, "127.0.0.1", 0, ssl=self_signed(tmp_path / "gpu1.pem")
    )
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(UpstreamTlsFailed, match="certificate is trusted"):
            await fetch(door, request_to(f"https://127.0.0.1:{port}"))


@on_sockets
async def test_certificate_of_the_customers_own_authority_is_trusted(
    tmp_path: Path, settings: Settings
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        writer.close()

    server = await asyncio.start_server(
        answer, "127.0.0.1", 0, ssl=self_signed(tmp_path / "gpu1.pem")
    )
    port = server.sockets[0].getsockname()[1]
    settings.CA_BUNDLE = str(tmp_path / "gpu1.pem")
    door = OutboundDoor(LOOPBACK_ALLOWED)
    async with server:
        assert await fetch(door, request_to(f"https://127.0.0.1:{port}")) == b"hi"
        await door.aclose()


@on_sockets
async def test_reason_phrase_that_is_not_ascii_does_no_harm(door: OutboundDoor) -> None:
    answer = b"HTTP/1.1 200 G\xfct \xe2\x82\xac\r\nContent-Length: 2\r\n\r\nhi"

    with RawServer(answer) as server:
        assert await fetch(door, request_to(server.url)) == b"hi"
