import asyncio
import time
from typing import Any

import httpx
import pytest

from gateway.authentication.key_copies import KeyCopies
from gateway.authentication.key_sets import MAX_KEYS
from gateway.authentication.trusted_keys import (
    ABSENT_S,
    FORCED_FETCH_EVERY_S,
    FRESH_S,
    USABLE_S,
    IssuerKeys,
    IssuerSource,
    issuer_sources,
)
from selfhosted_models.endpoints import parse_endpoint
from selfhosted_models.errors import SettingInvalid
from tests.fakes.gitlab import key_id, public_jwk, rsa_key
from tests.unit.gateway import virtual_time
from tests.unit.gateway.parts import NOWHERE, Clock, Instance, door, issuer_keys, source
from tests.unit.gateway.signing import ISSUER

FAULTS: dict[str, Any] = {
    "refused": httpx.ConnectError("refused"),
    "status 500": httpx.Response(500, json={"keys": [public_jwk(1)]}),
    "redirect": httpx.Response(302, headers={"Location": "https://evil.example.com/keys"}),
    "login page": httpx.Response(200, content=b"<html>Sign in</html>"),
    "empty set": httpx.Response(200, json={"keys": []}),
    "no set": httpx.Response(200, json={"error": "busy"}),
    "a list": httpx.Response(200, json=[public_jwk(1)]),
    "too many": httpx.Response(200, json={"keys": [public_jwk(1)] * (MAX_KEYS + 1)}),
    "too large": httpx.Response(200, json={"keys": [public_jwk(1)], "x": "x" * 65_536}),
    "nested": httpx.Response(200, content=b"[" * 5000),
}


# --- Where the keys are --------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["", "/gitlab", "/a/b"])
async def test_discovery_keeps_the_relative_url_root(root: str) -> None:
    instance = Instance(f"https://gitlab.example.com{root}")

    await issuer_keys(instance).find(instance.issuer, key_id(0))

    assert instance.requests == [
        f"https://gitlab.example.com{root}/.well-known/openid-configuration",
        f"https://gitlab.example.com{root}/oauth/discovery/keys",
    ]


@pytest.mark.parametrize(
    "told",
    [
        "https://evil.example.com/oauth/discovery/keys",
        "http://gitlab.example.com/oauth/discovery/keys",
        "https://gitlab.example.com:8443/oauth/discovery/keys",
        "//evil.example.com/oauth/discovery/keys",
        "/oauth/discovery/keys",
    ],
)
async def test_key_set_is_fetched_from_the_origin_that_was_configured(told: str) -> None:
    instance = Instance()
    instance.jwks_uri = told

    found = await issuer_keys(instance).find(ISSUER, key_id(0))

    assert found == rsa_key(0).public_key()
    assert instance.requests[-1] == "https://gitlab.example.com/oauth/discovery/keys"


@pytest.mark.parametrize("told", [None, 7, ["/keys"], "https://[::1", "/oauth/../admin"])
async def test_discovery_without_a_usable_uri_finds_no_key(told: object) -> None:
    instance = Instance()
    instance.jwks_uri = told

    assert await issuer_keys(instance).find(ISSUER, key_id(0)) is None
    assert instance.fetches == 0


async def test_key_set_of_a_further_issuer_is_fetched_without_discovery() -> None:
    instance = Instance()
    trusted = source("https://jwt.example.com", url=f"{ISSUER}/keys.json", is_key_set=True)

    found = await issuer_keys(instance, sources=[trusted]).find(trusted.issuer, key_id(0))

    assert found is not None
    assert instance.requests == [f"{ISSUER}/keys.json"]


def test_settings_name_the_sources() -> None:
    sources = issuer_sources(ISSUER, ["https://a.example.com=https://b.example.com/k"])

    assert sources == (
        IssuerSource(ISSUER, parse_endpoint(ISSUER), is_key_set=False),
        IssuerSource(
            "https://a.example.com", parse_endpoint("https://b.example.com/k"), is_key_set=True
        ),
    )


@pytest.mark.parametrize("entry", ["https://a.example.com", "=https://b.example.com", "a="])
def test_entry_that_is_no_pair_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="not of the form issuer=jwks_url"):
        issuer_sources("", [entry])


def test_issuer_that_is_no_url_is_refused() -> None:
    with pytest.raises(SettingInvalid, match="AIGW_GITLAB_URL"):
        issuer_sources("gitlab.example.com", [])


# --- When they are fetched -----------------------------------------------------------------------


async def test_known_key_is_fetched_once() -> None:
    instance = Instance()
    keys = issuer_keys(instance)

    for _ in range(5):
        await keys.find(ISSUER, key_id(0))

    assert instance.fetches == 1


async def test_flood_of_unknown_key_ids_causes_one_fetch() -> None:
    instance, clock = Instance(), Clock()
    keys = issuer_keys(instance, clock=clock)

    await asyncio.gather(*(keys.find(ISSUER, f"bad-{number}") for number in range(2000)))
    clock.now += FORCED_FETCH_EVERY_S - 1
    await asyncio.gather(*(keys.find(ISSUER, f"bad-{number}") for number in range(2000)))

    assert instance.fetches == 1


async def test_another_unknown_key_id_may_cause_a_fetch_again_after_30_seconds() -> None:
    instance, clock = Instance(), Clock()
    keys = issuer_keys(instance, clock=clock)
    await keys.find(ISSUER, "bad")

    clock.now += FORCED_FETCH_EVERY_S
    await keys.find(ISSUER, "worse")

    assert instance.fetches == 2


async def test_key_id_that_was_not_found_causes_no_fetch_for_five_minutes() -> None:
    instance, clock = Instance(), Clock()
    keys = issuer_keys(instance, clock=clock)
    fetches = []

    for wait_s in (0, FORCED_FETCH_EVERY_S, ABSENT_S - FORCED_FETCH_EVERY_S - 1, 1):
        clock.now += wait_s
        await keys.find(ISSUER, "bad")
        fetches.append(instance.fetches)

    assert fetches == [1, 1, 1, 2]


async def test_key_id_that_a_failed_fetch_did_not_find_may_cause_the_next() -> None:
    instance, clock = Instance(), Clock()
    keys = issuer_keys(instance, clock=clock)
    instance.fault = httpx.ConnectError("refused")
    await keys.find(ISSUER, key_id(0))

    instance.fault = None
    clock.now += FORCED_FETCH_EVERY_S

    assert await keys.find(ISSUER, key_id(0)) is not None


async def test_key_id_that_was_not_found_is_once_another_has_brought_it() -> None:
    instance, clock = Instance(), Clock()
    keys = issuer_keys(instance, clock=clock)
    await keys.find(ISSUER, key_id(1))

    instance.keys.append(public_jwk(1))
    clock.now += FORCED_FETCH_EVERY_S
    await keys.find(ISSUER, "bad")

    assert await keys.find(ISSUER, key_id(1)) == rsa_key(1).public_key()


async def test_key_ids_that_were_not_found_are_forgotten_in_the_end() -> None:
    clock = Clock()
    keys = issuer_keys(clock=clock)

    for number in range(100):
        await keys.find(ISSUER, f"bad-{number}")
        clock.now += FORCED_FETCH_EVERY_S

    assert len(keys._issuers[ISSUER].absent) == ABSENT_S / FORCED_FETCH_EVERY_S


def test_issuer_that_never_answers_is_given_three_seconds() -> None:
    async def never(_request: httpx.Request) -> httpx.Response:
        return await asyncio.Future()

    async def seconds() -> float:
        loop = asyncio.get_running_loop()
        copies = KeyCopies(NOWHERE, time.time)
        keys, began = IssuerKeys([source()], door(never), loop.time, copies), loop.time()
        assert await keys.find(ISSUER, key_id(0)) is None
        return loop.time() - began

    assert virtual_time.run(seconds()) == pytest.approx(3, abs=0.5)


async def test_rotation_is_noticed_by_the_new_key_id() -> None:
    instance, clock = Instance(), Clock()
    keys = issuer_keys(instance, clock=clock)
    await keys.find(ISSUER, key_id(0))

    instance.keys = [public_jwk(1)]
    clock.now += FORCED_FETCH_EVERY_S

    assert await keys.find(ISSUER, key_id(1)) == rsa_key(1).public_key()
    assert await keys.find(ISSUER, key_id(0)) is None


class SlowInstance(Instance):
    """Answers once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        await self.may_answer.wait()
        return await super().__call__(request)


async def test_those_who_come_during_a_fetch_take_what_it_finds() -> None:
    instance = SlowInstance()
    keys = issuer_keys(instance)
    first = asyncio.create_task(keys.find(ISSUER, key_id(0)))
    await instance.asked.wait()

    later = asyncio.create_task(keys.find(ISSUER, key_id(0)))
    await asyncio.sleep(0)
    instance.may_answer.set()

    assert await first == await later == rsa_key(0).public_key()
    assert instance.fetches == 1


async def test_who_leaves_during_a_fetch_does_not_take_it_along() -> None:
    instance = SlowInstance()
    keys = issuer_keys(instance)
    leaver = asyncio.create_task(keys.find(ISSUER, key_id(0)))
    await instance.asked.wait()
    leaver.cancel()
    await asyncio.wait({leaver})

    later = asyncio.create_task(keys.find(ISSUER, key_id(0)))
    await asyncio.sleep(0)
    instance.may_answer.set()

    assert await later == rsa_key(0).public_key()


async def test_issuers_are_fetched_apart() -> None:
    instance = Instance()
    trusted = [source(name, url=f"{ISSUER}/{name}", is_key_set=True) for name in ("one", "two")]
    keys = issuer_keys(instance, sources=trusted)

    await keys.find("one", "bad")
    await keys.find("two", "bad")

    assert instance.requests == [f"{ISSUER}/one", f"{ISSUER}/two"]


# --- What never happens to good keys -------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_failure_never_replaces_good_keys(fault: Any) -> None:
    instance, clock = Instance(), Clock()
    keys = issuer_keys(instance, clock=clock)
    await keys.find(ISSUER, key_id(0))

    instance.fault = fault
    clock.now += FORCED_FETCH_EVERY_S
    assert await keys.find(ISSUER, key_id(1)) is None

    assert await keys.find(ISSUER, key_id(0)) == rsa_key(0).public_key()
    assert keys.generation == 1


async def test_failure_starts_the_pause_too() -> None:
    instance = Instance()
    instance.fault = httpx.ConnectError("refused")
    keys = issuer_keys(instance)

    for number in range(100):
        await keys.find(ISSUER, f"bad-{number}")

    assert instance.fetches == 1
    assert not keys.has_keys(ISSUER)


async def test_generation_grows_only_when_the_keys_change() -> None:
    instance, clock = Instance(), Clock()
    keys = issuer_keys(instance, clock=clock)
    grown = []

    for published in ([0], [0], [0, 1], [1]):
        instance.keys = [*map(public_jwk, published)]
        clock.now += ABSENT_S
        await keys.find(ISSUER, "bad")
        grown.append(keys.generation)

    assert grown == [1, 1, 2, 3]


@pytest.mark.parametrize(("age_s", "usable"), [(USABLE_S, True), (USABLE_S + 1, False)])
async def test_keys_that_could_not_be_refreshed_for_a_day_are_dropped(
    age_s: float, usable: bool
) -> None:
    instance, clock = Instance(), Clock()
    keys = issuer_keys(instance, clock=clock)
    await keys.find(ISSUER, key_id(0))

    instance.fault = httpx.ConnectError("refused")
    clock.now += age_s
    await keys.find(ISSUER, "bad")

    assert keys.has_keys(ISSUER) is usable
    assert keys.generation == (1 if usable else 2)


# --- Upkeep in the background --------------------------------------------------------------------


def test_keys_are_refreshed_every_ten_minutes() -> None:
    instance = Instance()

    async def keep_for(seconds: float) -> None:
        loop = asyncio.get_running_loop()
        keys = issuer_keys(instance, clock=loop.time)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(keys.keep_fresh(), seconds)

    virtual_time.run(keep_for(3 * FRESH_S + 1))

    assert instance.fetches == 4


def test_failing_issuer_is_asked_again_ever_more_slowly() -> None:
    instance = Instance()
    instance.fault = httpx.ConnectError("refused")

    async def keep_for(seconds: float) -> None:
        loop = asyncio.get_running_loop()
        keys = issuer_keys(instance, clock=loop.time)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(keys.keep_fresh(), seconds)

    virtual_time.run(keep_for(300))

    assert 20 <= instance.fetches <= 32  # at 0, 0.5, 1.5, 3.5, 7.5, then every 15 s, +-20 %
