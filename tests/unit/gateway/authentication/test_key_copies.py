"""Copies on disk: what a restart finds, and what it never takes for good."""

import asyncio
import json
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import time_machine

from gateway.authentication.key_copies import KeyCopies, KeyCopy
from gateway.authentication.trusted_keys import USABLE_S, IssuerKeys
from tests.fakes.gitlab import key_id, public_jwk, rsa_key
from tests.unit.gateway.parts import Clock, Instance, issuer_keys, source
from tests.unit.gateway.signing import ISSUER

KEYS = {key_id(0): rsa_key(0).public_key()}


def written(folder: Path, age_s: float = 0.0) -> Path:
    """Return the file of a copy that is `age_s` old."""
    KeyCopies(folder, Clock()).write(ISSUER, ISSUER, KeyCopy(KEYS, age_s))
    (path,) = folder.iterdir()
    return path


def read(folder: Path, issuer: str = ISSUER, url: str = ISSUER) -> KeyCopy | None:
    return KeyCopies(folder, Clock()).read(issuer, url, max_age_s=USABLE_S)


def down() -> Instance:
    instance = Instance()
    instance.fault = httpx.ConnectError("refused")
    return instance


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


# --- The file ------------------------------------------------------------------------------------


def test_copy_is_read_as_it_was_written(tmp_path: Path) -> None:
    written(tmp_path, age_s=70)

    assert read(tmp_path) == KeyCopy(KEYS, 70)


def test_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "below")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_file_holds_no_private_member(tmp_path: Path) -> None:
    (key,) = json.loads(written(tmp_path).read_text())["keys"]

    assert key.keys() <= {"kty", "kid", "use", "alg", "n", "e", "key_ops"}


def test_next_copy_replaces_the_file_whole(tmp_path: Path) -> None:
    with written(tmp_path).open() as first:
        written(tmp_path, age_s=5)

        assert json.load(first)["fetched_at"] == 1000  # who reads the old one reads it to its end
    assert len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize(("age_s", "usable"), [(0, True), (USABLE_S, True), (USABLE_S + 1, False)])
def test_copy_of_a_day_is_the_oldest_that_is_used(
    tmp_path: Path, logs: list[Any], age_s: float, usable: bool
) -> None:
    written(tmp_path, age_s)

    assert (read(tmp_path) is not None) is usable
    assert [log["reason"] for log in logs] == ([] if usable else ["it is too old"])


def test_copy_from_the_future_is_not_used(tmp_path: Path, logs: list[Any]) -> None:
    written(tmp_path, age_s=-1)

    assert read(tmp_path) is None
    assert [(log["event"], log["reason"]) for log in logs] == [
        ("issuer_keys.copy_ignored", "it is from the future")
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"\x00" * len(data),
        lambda data: b"[1]",
        lambda data: b"{}",
        lambda data: data.replace(b"fetched_at", b"fetched_by"),
        lambda data: data.replace(b"1000.0", b'"soon"'),
        lambda data: data.replace(b"1000.0", b"null"),
        lambda data: data.replace(b'"RSA"', b'"oct"'),
    ],
    ids=[
        *("cut", "empty", "zeros", "list", "no keys", "no time", "time in words", "null time"),
        "no RSA key",
    ],
)
def test_damaged_copy_is_not_used(tmp_path: Path, logs: list[Any], damage: Any) -> None:
    path = written(tmp_path)
    path.write_bytes(damage(path.read_bytes()))

    assert read(tmp_path) is None
    assert logs[0]["reason"].startswith("it cannot be read")


def test_missing_copy_is_nothing_to_tell(tmp_path: Path, logs: list[Any]) -> None:
    assert read(tmp_path) is None
    assert logs == []


@pytest.mark.parametrize(
    ("issuer", "url"),
    [("https://other.example.com", ISSUER), (ISSUER, "https://other.example.com/keys")],
)
def test_copy_serves_only_the_issuer_and_the_place_it_came_from(
    tmp_path: Path, issuer: str, url: str
) -> None:
    written(tmp_path)

    assert read(tmp_path, issuer, url) is None


# --- Its use -------------------------------------------------------------------------------------


async def test_restart_while_the_issuer_is_down_finds_its_keys(
    tmp_path: Path, clock: time_machine.Traveller
) -> None:
    await kept(issuer_keys(Instance(), folder=tmp_path), tmp_path)

    restarted = issuer_keys(down(), folder=tmp_path)
    restarted.restore()

    assert await restarted.find(ISSUER, key_id(0)) == rsa_key(0).public_key()


async def test_age_of_keys_is_counted_from_their_fetch(
    tmp_path: Path, clock: time_machine.Traveller
) -> None:
    await kept(issuer_keys(Instance(), folder=tmp_path), tmp_path)
    clock.shift(USABLE_S - 60)
    monotonic = Clock()
    restarted = issuer_keys(down(), folder=tmp_path, clock=monotonic)
    restarted.restore()

    monotonic.now += 61
    await restarted.find(ISSUER, "bad")

    assert not restarted.has_keys(ISSUER)


async def test_what_the_issuer_says_replaces_the_copy(
    tmp_path: Path, clock: time_machine.Traveller
) -> None:
    await kept(issuer_keys(Instance(), folder=tmp_path), tmp_path)

    restarted = issuer_keys(Instance(keys=[public_jwk(1)]), folder=tmp_path)
    restarted.restore()
    await restarted.find(ISSUER, key_id(1))

    assert await restarted.find(ISSUER, key_id(0)) is None
    assert restarted.generation == 1


async def test_full_disk_is_logged_and_nothing_else(tmp_path: Path) -> None:
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("")
    keys = issuer_keys(Instance(), folder=not_a_folder)

    with structlog.testing.capture_logs() as logs:
        await upkept(keys, lambda: any(log["event"] == "issuer_keys.copy_failed" for log in logs))

    assert await keys.find(ISSUER, key_id(0)) == rsa_key(0).public_key()


async def test_each_issuer_has_a_file_of_its_own(tmp_path: Path) -> None:
    trusted = [source(name, url=f"{ISSUER}/{name}", is_key_set=True) for name in ("one", "two")]
    keys = issuer_keys(Instance(), sources=trusted, folder=tmp_path)

    await upkept(keys, lambda: len([*tmp_path.glob("*.json")]) == 2)


async def kept(keys: IssuerKeys, folder: Path) -> None:
    """Keep `keys` fresh until there is a copy."""
    await upkept(keys, lambda: any(folder.glob("*.json")))


async def upkept(keys: IssuerKeys, is_done: Any) -> None:
    upkeep = asyncio.create_task(keys.keep_fresh())
    async with asyncio.timeout(5):
        while not is_done():  # noqa: ASYNC110 - a thread writes
            await asyncio.sleep(0.001)
    upkeep.cancel()
    with suppress(asyncio.CancelledError):
        await upkeep
