"""The proxy breaks what it is told to, and nothing else: tests of the gateway rest on it."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.model_server import ModelServer, Script

pytestmark = pytest.mark.enable_socket

TEXT = b"Hello, world!"
SOON_S = 0.2
HANGS_S = 5.0


@pytest.fixture
def network(model_server: ModelServer) -> Iterator[FaultProxy]:
    with FaultProxy(model_server.url) as proxy:
        yield proxy


def get(network: FaultProxy, timeout_s: float = HANGS_S) -> bytes:
    return httpx.get(f"{network.url}/v1/text", timeout=timeout_s).content


@pytest.fixture(autouse=True)
def plain_answer(model_server: ModelServer) -> None:
    model_server.answer_with(Script(body=TEXT))


def test_without_a_fault_everything_passes(network: FaultProxy) -> None:
    with httpx.Client(base_url=network.url) as client:
        answers = [client.get("/v1/text").content for _ in range(3)]

    assert answers == [TEXT] * 3
    assert network.accepted == 1


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("refuse", httpx.ConnectError),
        ("black_hole", httpx.ConnectTimeout),
        ("hang", httpx.ReadTimeout),
        ("cut", httpx.RemoteProtocolError),
        ("reset", httpx.ReadError),
    ],
)
def test_fault_is_met_until_it_is_healed(network: FaultProxy, kind: Any, error: Any) -> None:
    network.break_with(kind)
    with pytest.raises(error):
        get(network, SOON_S)
    network.heal()

    assert get(network) == TEXT


@pytest.mark.parametrize("kind", ["hang", "cut", "reset"])
def test_what_comes_before_the_fault_passes(network: FaultProxy, kind: Any) -> None:
    network.break_with(kind, after=b"Hello")

    with httpx.stream("GET", f"{network.url}/v1/text", timeout=SOON_S) as response:
        parts = response.iter_raw()
        assert next(parts) == b"Hello"
        with pytest.raises(httpx.TransportError):
            next(parts)


def test_start_of_the_fault_is_found_though_it_is_cut_in_two(
    network: FaultProxy, model_server: ModelServer
) -> None:
    model_server.answer_with(Script(body=TEXT, piece_bytes=1))
    network.break_with("cut", after=b"world")
    received: list[bytes] = []

    with (
        httpx.stream("GET", f"{network.url}/v1/text") as response,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        received.extend(response.iter_raw())

    assert b"".join(received) == b"Hello, world"


def test_corrupt_bytes_are_as_many_as_the_good_ones(network: FaultProxy) -> None:
    network.break_with("corrupt", after=b"Hello")

    assert get(network) == b"Hello" + bytes(byte ^ 0xFF for byte in b", world!")


@pytest.mark.parametrize(("kind", "waits"), [("drip", len(", world!")), ("slow", 1)])
def test_slow_answer_comes_whole_and_late(network: FaultProxy, kind: Any, waits: int) -> None:
    network.break_with(kind, after=b"Hello", gap_s=0.02)
    began = time.monotonic()

    assert get(network) == TEXT
    assert time.monotonic() - began >= waits * 0.02


def test_open_connection_meets_the_fault_too(network: FaultProxy) -> None:
    with httpx.Client(base_url=network.url) as client:
        client.get("/v1/text")
        network.break_with("reset")

        with pytest.raises(httpx.ReadError):
            client.get("/v1/text")


@pytest.mark.parametrize("kind", ["refuse", "black_hole"])
def test_open_connection_ends_when_the_server_goes(network: FaultProxy, kind: Any) -> None:
    with socket.create_connection(("127.0.0.1", network.port), timeout=HANGS_S) as client:
        client.sendall(b"GET /v1/text HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while not received.endswith(TEXT):
            received += client.recv(1024)

        network.break_with(kind)

        with pytest.raises(ConnectionResetError):
            client.recv(1024)


def test_dials_that_are_not_answered_are_counted(network: FaultProxy) -> None:
    network.break_with("black_hole")
    before = network.unanswered_dials()
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", network.port))
        during = network.unanswered_dials()

    assert (before, during, network.unanswered_dials()) == (0, 1, 0)


def test_peer_that_leaves_is_seen_by_the_server(
    network: FaultProxy, model_server: ModelServer
) -> None:
    model_server.answer_with(Script(stall="before_headers"))
    with pytest.raises(httpx.ReadTimeout):
        get(network, SOON_S)

    assert model_server.wait_for_request().closed_by_peer.wait(HANGS_S)


def test_reset_of_the_server_is_one_of_the_proxy(
    network: FaultProxy, model_server: ModelServer
) -> None:
    model_server.answer_with(Script(cut_after=0, cut="RST"))

    with pytest.raises(httpx.ReadError):
        get(network)
