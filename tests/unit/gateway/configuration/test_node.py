"""A gateway node without a database: what it takes from the configuration node, and keeps."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from feature_config.catalogue import Feature
from gateway.configuration.node import (
    CONFIRMED_AGAIN_AFTER_S,
    FILE_NAME,
    ConfigurationNode,
    ConfigurationPlace,
)
from gateway.configuration.serving_exports import ServingExport, export_data, key_id_of, sign
from gateway.configuration.sources import ConfigurationUnreadable
from gateway.configuration.stored import read_configuration
from selfhosted_models.endpoints import UrlPolicy, parse_endpoint
from selfhosted_models.outbound import OutboundDoor
from tests.factories import assign, make_deployment

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
TOKEN = "token-canary-0123456789"
API_KEY = "sk-canary-0123456789abcdef"
PLACE = ConfigurationPlace(
    parse_endpoint("http://10.0.0.1:8000"), TOKEN, {key_id_of(KEY.public_key()): KEY.public_key()}
)


@dataclass
class Server(httpx.AsyncBaseTransport):
    """The configuration node: hands out an export, signed."""

    export: ServingExport
    key: Ed25519PrivateKey = KEY
    status: int = 200
    asked: list[httpx.Request] = field(default_factory=list)
    body: bytes | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.status != 200:
            return httpx.Response(self.status)
        signed = sign(export_data(self.export), self.key)
        etag = f'"{self.export.revision}"'
        if request.headers.get("if-none-match") == etag:
            return httpx.Response(304)
        body = self.body or orjson.dumps({"signed": signed})
        return httpx.Response(200, headers={"etag": etag}, content=body)


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def export(db: None) -> ServingExport:
    assign(Feature.DUO_CHAT, make_deployment(name="gpu1", api_key=API_KEY))
    return ServingExport(read_configuration(), 7)


@pytest.fixture
def server(export: ServingExport) -> Server:
    return Server(export)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def clock() -> Clock:
    return Clock()


@dataclass
class Nodes:
    """Makes workers of one gateway node."""

    folder: Path
    server: Server
    thread: ThreadPoolExecutor
    clock: Clock

    def start(self) -> ConfigurationNode:
        door = OutboundDoor(UrlPolicy(), transport=self.server)
        return ConfigurationNode(PLACE, door, self.copy, self.thread, self.clock)

    @property
    def copy(self) -> Path:
        return self.folder / FILE_NAME


@pytest.fixture
def nodes(tmp_path: Path, server: Server, thread: ThreadPoolExecutor, clock: Clock) -> Nodes:
    return Nodes(tmp_path, server, thread, clock)


@pytest.fixture
async def node(nodes: Nodes) -> AsyncIterator[ConfigurationNode]:
    made = nodes.start()
    yield made
    await made.aclose()


async def test_what_is_offered_is_taken_once(node: ConfigurationNode, server: Server) -> None:
    first, again = await node.read(), await node.read()

    assert first is not None
    assert first.routes[Feature.DUO_CHAT].chosen == ("gpu1",)
    assert again is None
    assert [request.url.path for request in server.asked] == ["/api/v1/serving-config/"] * 2
    assert server.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_a_restart_serves_from_disk_while_the_node_is_down(
    node: ConfigurationNode, nodes: Nodes, server: Server, clock: Clock
) -> None:
    await node.read()
    server.status = 502
    clock.now += 5000
    restarted = nodes.start()

    kept = await restarted.kept()

    assert kept is not None
    assert kept.configuration.routes[Feature.DUO_CHAT].chosen == ("gpu1",)
    assert clock.now - kept.confirmed_at == 5000
    with pytest.raises(ConfigurationUnreadable, match="answered 502"):
        await restarted.read()


async def test_copy_on_disk_is_the_owners_and_holds_no_key_in_the_clear(
    node: ConfigurationNode, nodes: Nodes
) -> None:
    await node.read()

    assert nodes.copy.stat().st_mode & 0o777 == 0o600
    assert API_KEY not in nodes.copy.read_text()
    assert TOKEN not in nodes.copy.read_text()


async def test_copy_is_told_now_and_then_that_it_is_the_newest(
    node: ConfigurationNode, nodes: Nodes, clock: Clock
) -> None:
    await node.read()
    clock.now += CONFIRMED_AGAIN_AFTER_S
    await node.read()

    kept = await nodes.start().kept()

    assert kept is not None
    assert kept.confirmed_at == clock.now


async def test_nothing_is_kept_before_the_first(node: ConfigurationNode) -> None:
    assert await node.kept() is None


@pytest.mark.parametrize(
    "damage", ["x", "{}", '{"signed": "a.b.c", "etag": "", "confirmed_at": 1}']
)
async def test_copy_that_was_damaged_is_not_served_from(
    node: ConfigurationNode, nodes: Nodes, damage: str
) -> None:
    await node.read()
    nodes.copy.write_text(damage)
    restarted = nodes.start()

    assert await restarted.kept() is None
    assert await restarted.read() is not None  # and is replaced


async def test_copy_somebody_else_signed_is_not_served_from(
    node: ConfigurationNode, nodes: Nodes, export: ServingExport
) -> None:
    await node.read()
    copy = orjson.loads(nodes.copy.read_bytes())
    nodes.copy.write_bytes(orjson.dumps(copy | {"signed": sign(export_data(export), STRANGER)}))

    assert await nodes.start().kept() is None


async def test_configuration_a_stranger_signed_is_refused(
    node: ConfigurationNode, server: Server, export: ServingExport, nodes: Nodes
) -> None:
    await node.read()
    copy = nodes.copy.read_bytes()
    server.export, server.key = replace(export, revision=8), STRANGER

    with pytest.raises(ConfigurationUnreadable, match="No trusted key signed"):
        await node.read()

    assert nodes.copy.read_bytes() == copy


async def test_older_configuration_is_refused_over_a_restart_too(
    node: ConfigurationNode, server: Server, export: ServingExport, nodes: Nodes
) -> None:
    await node.read()
    server.export = replace(export, revision=6)
    restarted = nodes.start()
    await restarted.kept()

    for one in (node, restarted):
        with pytest.raises(ConfigurationUnreadable, match="revision 6, older than revision 7"):
            await one.read()


async def test_answer_of_something_else_is_refused(node: ConfigurationNode, server: Server) -> None:
    server.body = b"<html>"

    with pytest.raises(ConfigurationUnreadable, match="check SERVING_CONFIG_URL"):
        await node.read()


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (302, "see its own log"),
        (400, "ALLOWED_HOSTS"),
        (401, "SERVING_CONFIG_TOKEN"),
        (403, "read_serving_config"),
        (404, "SERVING_CONFIG_URL"),
        (500, "see its own log"),
    ],
)
async def test_refusal_says_what_to_do(
    node: ConfigurationNode, server: Server, status: int, advice: str
) -> None:
    server.status = status

    with pytest.raises(ConfigurationUnreadable, match=advice) as told:
        await node.read()

    assert TOKEN not in str(told.value)


async def test_disk_that_is_full_does_not_stop_a_change(
    server: Server, thread: ThreadPoolExecutor, tmp_path: Path
) -> None:
    door = OutboundDoor(UrlPolicy(), transport=server)
    node = ConfigurationNode(PLACE, door, tmp_path / "absent" / FILE_NAME, thread)

    assert await node.read() is not None


def test_token_is_not_printed() -> None:
    assert TOKEN not in repr(PLACE)
