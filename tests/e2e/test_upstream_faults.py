"""What callers see when the network to a model server, or the server behind it, fails."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.e2e.callers import CALLS, CHAT, COMPLETION, Call
from tests.e2e.conftest import Site
from tests.fakes.model_server import Script

#: Of the site's deployment.
FIRST_TOKEN_S, IDLE_S = 1.5, 2.0
#: What a loaded machine may add to a clock. A clock that does not fire costs 20 s and more.
LATE_S = 4.0

PIECES = tuple(f"{number} " for number in range(8))


@pytest.fixture
def within(request: pytest.FixtureRequest) -> Callable[[float], None]:
    """Return what asserts that the test has taken no longer than a clock, and `LATE_S`."""
    began = time.monotonic()

    def check(clock_s: float) -> None:
        assert time.monotonic() - began < clock_s + LATE_S

    return check


def events(response: httpx.Response) -> list[Any]:
    """Return the events of an OpenAI stream, which ends in [DONE]."""
    *data, done = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert done == "[DONE]"
    return [json.loads(item) for item in data]


def said(stream: list[Any]) -> str:
    choices = [choice for event in stream for choice in event.get("choices", ())]
    return "".join(choice["delta"].get("content", "") for choice in choices)


# --- Before the first token ----------------------------------------------------------------------


def test_refused_connection_is_tried_twice_then_told(
    site: Site, within: Callable[[float], None]
) -> None:
    site.network.break_with("refuse")

    response = site.post(CHAT)

    within(1)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "upstream_unreachable")
    assert response.headers["Retry-After"] == "2"
    assert site.logged(response)["attempts"] == 2


def test_connection_reset_before_any_answer_is_tried_twice(site: Site) -> None:
    before = len(site.models.exchanges)
    site.network.break_with("reset")

    response = site.post(CHAT)

    assert (response.status_code, response.json()["error"]["code"]) == (503, "upstream_unreachable")
    assert len(site.models.exchanges) - before == 2


def test_server_that_is_back_serves_at_once(site: Site) -> None:
    site.network.break_with("refuse")
    assert site.post(CHAT).status_code == 503

    site.network.heal()

    assert site.post(CHAT).status_code == 200


def test_unanswered_dial_ends_with_the_clock_of_the_connection(
    site: Site, within: Callable[[float], None]
) -> None:
    site.network.break_with("black_hole")

    response = site.post(CHAT)

    within(3)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
    assert response.headers["x-should-retry"] == "false"
    assert site.logged(response)["attempts"] == 1


@pytest.mark.parametrize(
    ("after", "stream", "clock_s"),
    [
        (b"", False, FIRST_TOKEN_S),
        (b"\r\n\r\n", False, IDLE_S),
        (b"\r\n\r\n", True, FIRST_TOKEN_S),
    ],
    ids=["no headers", "headers of a whole answer", "headers of a stream"],
)
def test_server_that_says_nothing_is_asked_once(
    site: Site, after: bytes, stream: bool, clock_s: float, within: Callable[[float], None]
) -> None:
    before = len(site.models.exchanges)
    site.network.break_with("hang", after=after)

    response = site.post(CHAT, stream=stream)

    within(clock_s)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
    (exchange,) = site.models.exchanges[before:]
    assert exchange.closed_by_peer.wait(1)


def test_callers_deadline_is_kept(site: Site, within: Callable[[float], None]) -> None:
    site.network.break_with("hang")
    headers = {**site.headers, "X-Request-Deadline-Ms": "200"}

    response = httpx.post(site.url + CHAT.path, json=CHAT.body, headers=headers, timeout=60)

    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
    assert site.logged(response)["total_ms"] < FIRST_TOKEN_S * 1000


# --- In the middle of an answer ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "codes", "clock_s"),
    [
        ("hang", {"upstream_timeout"}, IDLE_S),
        ("cut", {"upstream_truncated"}, 1),
        ("reset", {"upstream_truncated"}, 1),
        # Of the JSON, or of the HTTP around it, which may then never end.
        ("corrupt", {"upstream_bad_response", "upstream_truncated", "upstream_timeout"}, IDLE_S),
    ],
    ids=["hang", "cut", "reset", "corrupt"],
)
def test_openai_stream_that_breaks_says_so_after_what_had_come(
    site: Site, fault: Any, codes: set[str], clock_s: float, within: Callable[[float], None]
) -> None:
    before = len(site.models.exchanges)
    site.models.answer_with(Script(chunks=PIECES, gap_s=0.01))
    site.network.break_with(fault, after=b'"4 "')

    response = site.post(CHAT, stream=True)

    within(clock_s)
    *good, last = events(response)
    assert said(good).startswith("0 1 2 3 ")
    assert "5" not in said(good)
    assert last["error"]["code"] in codes
    (exchange,) = site.models.exchanges[before:]  # asked once: nothing is ever said twice
    assert exchange.completed.is_set() or exchange.closed_by_peer.wait(1)


@pytest.mark.parametrize("fault", ["hang", "cut", "reset"])
def test_raw_stream_that_breaks_is_cut_after_what_had_come(site: Site, fault: Any) -> None:
    site.models.answer_with(Script(chunks=PIECES, gap_s=0.01))
    site.network.break_with(fault, after=b'"4 "')
    received: list[bytes] = []

    with (
        httpx.stream(
            "POST",
            site.url + COMPLETION.path,
            json=COMPLETION.streamed(),
            headers=site.headers,
            timeout=60,
        ) as response,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        received.extend(response.iter_raw())

    assert response.status_code == 200
    assert b"".join(received).startswith(b"0 1 2 3 ")


def test_bytes_that_drip_do_not_feed_the_clock(site: Site, within: Callable[[float], None]) -> None:
    site.models.answer_with(Script(chunks=PIECES))
    site.network.break_with("drip", after=b'"4 "', gap_s=0.1)

    *good, last = events(site.post(CHAT, stream=True))

    within(IDLE_S)
    assert said(good).startswith("0 1 2 3 ")
    assert last["error"]["code"] == "upstream_timeout"
    assert "the next event" in last["error"]["message"]


def test_events_feed_the_clock_and_the_deadline_ends_them(site: Site) -> None:
    site.models.answer_with(Script(never_ends=True, gap_s=0.2))
    headers = {**site.headers, "X-Request-Deadline-Ms": "3000"}

    response = httpx.post(site.url + CHAT.path, json=CHAT.streamed(), headers=headers, timeout=60)

    *good, last = events(response)
    assert len(good) > IDLE_S / 0.2 / 2  # a loaded machine may send half as many
    assert last["error"]["code"] == "upstream_timeout"
    assert "the end of the answer" in last["error"]["message"]
    assert site.logged(response)["total_ms"] >= IDLE_S * 1000


def test_slow_network_is_only_slow(site: Site) -> None:
    site.models.answer_with(Script(chunks=PIECES))
    site.network.break_with("slow", gap_s=0.05)

    assert said(events(site.post(CHAT, stream=True))) == "".join(PIECES)


# --- What the server answers ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 400, 422])
def test_refusal_is_asked_once_and_told_without_the_key(site: Site, status: int) -> None:
    before = len(site.models.exchanges)
    site.models.answer_with(Script.error(status, "sk-canary-0123456789abcdef is wrong"))

    response = site.post(CHAT)

    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_rejected")
    assert response.headers["x-should-retry"] == "false"
    assert "canary" not in response.text
    assert len(site.models.exchanges) - before == 1


@pytest.mark.parametrize(
    ("wanted_s", "told"), [(None, "2"), (0, "1"), (7, "7"), (600, "30")], ids=str
)
def test_servers_own_limit_is_told_with_its_wait(
    site: Site, wanted_s: int | None, told: str
) -> None:
    before = len(site.models.exchanges)
    site.models.answer_with(Script.error(429, retry_after_s=wanted_s))

    response = site.post(CHAT)

    assert response.status_code == 503
    assert response.headers["Retry-After"] == told
    assert len(site.models.exchanges) - before == 1


@pytest.mark.parametrize(("status", "told"), [(500, 502), (502, 502), (503, 503), (504, 502)])
def test_servers_error_is_tried_twice_then_told(site: Site, status: int, told: int) -> None:
    before = len(site.models.exchanges)
    site.models.answer_with(Script.error(status))

    response = site.post(CHAT, stream=True)

    assert response.status_code == told
    assert len(site.models.exchanges) - before == 2
    assert response.headers["X-Gitlab-Duo-Failed-Attempts"] == ", ".join(
        ["fake: upstream_rejected"] * 2
    )


def test_second_attempt_may_succeed(site: Site) -> None:
    site.models.answer_with(Script.error(503), Script())

    response = site.post(CHAT)

    assert response.json()["choices"][0]["message"]["content"] == "Hello, world!"
    assert response.headers["X-Gitlab-Duo-Deployment"] == "fake"
    assert response.headers["X-Gitlab-Duo-Failed-Attempts"] == "fake: upstream_rejected"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.path)
def test_failed_attempts_are_told_whatever_the_dialect(site: Site, call: Call) -> None:
    site.network.break_with("refuse")

    response = site.post(call)

    assert response.headers["X-Gitlab-Duo-Deployment"] == "fake"
    assert "fake: upstream_unreachable" in response.headers["X-Gitlab-Duo-Failed-Attempts"]


# --- Keys of the issuer --------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["error", "hang", "html", "no_keys"])
def test_known_keys_go_on_while_gitlab_is_away(site: Site, fault: Any) -> None:
    site.gitlab.keys_fault = site.gitlab.discovery_fault = fault
    token = site.gitlab.mint(["duo_chat"])  # a new one: no verdict is remembered
    headers = site.gitlab.headers(token)

    response = httpx.post(site.url + CHAT.path, json=CHAT.body, headers=headers, timeout=60)
    site.gitlab.keys_fault = site.gitlab.discovery_fault = None

    assert response.status_code == 200


@pytest.mark.parametrize(("skew_s", "status"), [(25, 200), (-25, 200), (120, 401), (-120, 401)])
def test_clock_skew_of_half_a_minute_is_allowed(site: Site, skew_s: int, status: int) -> None:
    issued = int(time.time()) + skew_s
    # Ahead: issued in our future. Behind: expired, by our clock, that long ago.
    expires = issued + 60 if skew_s > 0 else int(time.time()) + skew_s
    token = site.gitlab.mint(["duo_chat"], iat=min(issued, expires - 1), nbf=None, exp=expires)
    headers = site.gitlab.headers(token)

    response = httpx.post(site.url + CHAT.path, json=CHAT.body, headers=headers, timeout=60)

    assert response.status_code == status
