"""The one log event of a request: which fields it has, and what never gets into a log."""

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import structlog.testing

from feature_config.catalogue import Feature
from gateway.authentication.verifier import Caller
from gateway.exchange import FIRST_CONTENT_WITHIN_S, MAX_USER_CHARS, Exchange
from gateway.inbound.handler import GatewayHandler
from gateway.model_metadata import ModelMetadataPolicy
from selfhosted_models.serving import CHAT_CLOCKS
from tests.fakes.gitlab import INSTANCE_ID
from tests.unit.gateway.asgi import Client
from tests.unit.gateway.parts import (
    EventBody,
    ModelServer,
    runtime,
    serving,
    snapshot,
    streamed,
    text_event,
)
from tests.unit.gateway.signing import headers, mint

#: Source: reliability and security anchors, section 12; nothing else may be logged of a request.
FIELDS = {
    "event",
    "log_level",
    "request_id",
    "method",
    "route",
    "status",
    "outcome",
    "reason",
    "caller",
    "token_id",
    "feature",
    "deployment",
    "attempts",
    "failed_attempts",
    "queued_ms",
    "prompt",
    "prompt_digest",
    "prompt_tokens_estimate",
    "cut_inputs",
    "configuration",
    "input_tokens",
    "output_tokens",
    "first_content_ms",
    "total_ms",
}
SENTINEL = "SENTINEL"
USAGE = {"prompt_tokens": 7, "completion_tokens": 2}
GOOD = httpx.Response(
    200, json={"choices": [{"text": f"{SENTINEL} answer", "index": 0}], "usage": USAGE}
)
BODY: dict[str, Any] = {
    "prompt_version": 2,
    "project_path": f"{SENTINEL}/path",
    "current_file": {
        "file_name": f"{SENTINEL}.py",
        "language_identifier": SENTINEL,
        "content_above_cursor": f"{SENTINEL} above",
        "content_below_cursor": f"{SENTINEL} below",
    },
    "context": [{"type": SENTINEL, "name": SENTINEL, "content": f"{SENTINEL} context"}],
}
NAMED = {
    "model_name": "codegemma",
    "model_endpoint": "http://10.0.4.11:8000/v1",
    "model_api_key": f"key-{SENTINEL}",
}


def client(*answers: httpx.Response | Exception, **options: Any) -> Client:
    serves = snapshot(
        [serving(api_key=f"stored-{SENTINEL}")], {Feature.CODE_COMPLETIONS: ["codegemma-gpu1"]}
    )
    return Client(GatewayHandler(runtime(ModelServer(*answers), serves, **options)))


async def finished(call: Any) -> dict[str, Any]:
    """Run `call` and return its one event."""
    with structlog.testing.capture_logs() as logs:
        await call.run()
    (event,) = [dict(event) for event in logs if event["event"] == "request.finished"]
    return event


async def test_event_holds_the_listed_fields_only() -> None:
    sent = headers(mint(), x_request_id="corr-42")

    event = await finished(client(GOOD).call("POST", "/v2/code/completions", sent, json=BODY))

    assert event.keys() == FIELDS
    event.pop("first_content_ms")
    event.pop("total_ms")
    event.pop("queued_ms")
    assert event.pop("prompt_digest")
    assert event.pop("prompt_tokens_estimate") > 0
    assert event == {
        "event": "request.finished",
        "log_level": "info",
        "request_id": "corr-42",
        "method": "POST",
        "route": "v2/code/completions",
        "status": 200,
        "outcome": "ok",
        "reason": "",
        "caller": hashlib.sha256(INSTANCE_ID.encode()).hexdigest()[:16],
        "token_id": "a-token",
        "feature": "code_completions",
        "deployment": "codegemma-gpu1",
        "attempts": 1,
        "failed_attempts": [],
        "prompt": "code_completions/codegemma-7b-it/1.0.0",
        "cut_inputs": [],
        "configuration": "0123456789abcdef",
        "input_tokens": 7,
        "output_tokens": 2,
    }


async def test_refused_request_has_an_event_too() -> None:
    event = await finished(client(GOOD).call("POST", "/v2/code/completions"))

    assert event.keys() == FIELDS
    assert (event["status"], event["outcome"], event["caller"]) == (401, "token_refused", "")
    assert event["first_content_ms"] is None


async def test_server_error_is_a_warning() -> None:
    failing = httpx.Response(500, text=SENTINEL)

    event = await finished(
        client(failing).call("POST", "/v2/code/completions", headers(mint()), json=BODY)
    )

    assert (event["log_level"], event["outcome"]) == ("warning", "upstream_rejected")


async def test_route_is_the_template_never_the_path() -> None:
    event = await finished(
        client(GOOD).call("POST", f"/v1/prompts/{SENTINEL}", headers(mint()), json={"inputs": {}})
    )

    assert event["route"] == "v1/prompts/<path:prompt_id>"


async def test_inputs_that_were_cut_are_named() -> None:
    current_file = {**BODY["current_file"], "content_above_cursor": "x = 1\n" * 5000}

    event = await finished(
        client(GOOD).call(
            "POST",
            "/v2/code/completions",
            headers(mint()),
            json={**BODY, "current_file": current_file},
        )
    )

    assert "prefix" in event["cut_inputs"]


def test_event_is_written_before_anything_is_known() -> None:
    with structlog.testing.capture_logs() as logs:
        Exchange.begin("GET", {}).finish()

    assert [event.keys() for event in logs] == [FIELDS]


def test_first_content_is_noted_once() -> None:
    exchange = Exchange.begin("GET", {})

    exchange.note_content()
    first = exchange.first_content_at
    exchange.note_content()

    assert exchange.first_content_at == first


@pytest.mark.parametrize(
    ("deadline_ms", "within_s"),
    [
        ("", FIRST_CONTENT_WITHIN_S),
        ("20000", 20),
        ("1", 0.001),
        ("0", 0),
        ("90000", FIRST_CONTENT_WITHIN_S),
        ("999999999", FIRST_CONTENT_WITHIN_S),
        ("-5", FIRST_CONTENT_WITHIN_S),
        ("1e3", FIRST_CONTENT_WITHIN_S),
        ("9" * 5000, FIRST_CONTENT_WITHIN_S),
        ("\u0663", FIRST_CONTENT_WITHIN_S),
        ("soon", FIRST_CONTENT_WITHIN_S),
    ],
)
def test_all_attempts_share_one_deadline(deadline_ms: str, within_s: float) -> None:
    exchange = Exchange.begin("GET", {"X-Request-Deadline-Ms": deadline_ms})

    assert exchange.first_content_by == exchange.started_at + within_s


@pytest.mark.parametrize(("deadline_s", "total_s"), [(None, 300), (900, 300), (50, 20), (30, 0)])
def test_call_has_no_more_time_than_the_caller_has_left(
    deadline_s: float | None, total_s: float
) -> None:
    exchange = Exchange("", "GET", deadline_s=deadline_s, started_at=time.monotonic() - 30)

    clocks = exchange.within_deadline(CHAT_CLOCKS)

    assert clocks.total_s == pytest.approx(total_s, abs=1)
    assert replace(clocks, total_s=300) == CHAT_CLOCKS


USER_HEADER = {"X-Gitlab-Global-User-Id": "u-42"}


@pytest.mark.parametrize(
    ("is_own_issued", "sent", "user"),
    [(True, USER_HEADER, "subject"), (False, USER_HEADER, "u-42"), (False, {}, "")],
)
def test_user_is_the_subject_of_a_users_token_or_whom_the_instance_names(
    *, is_own_issued: bool, sent: dict[str, str], user: str
) -> None:
    exchange = Exchange.begin("GET", sent)
    exchange.caller = Caller("subject", frozenset(), is_own_issued=is_own_issued)

    assert exchange.user == user


def test_name_of_a_user_is_bounded() -> None:
    exchange = Exchange.begin("GET", {"X-Gitlab-Global-User-Id": "u" * 5000})

    assert len(exchange.user) == MAX_USER_CHARS


# --- What never gets into a log ------------------------------------------------------------------


def _broken_stream() -> httpx.Response:
    return streamed(EventBody(text_event(SENTINEL), httpx.ReadError(SENTINEL)))


ANSWERS: dict[str, Any] = {
    "good": lambda: GOOD,
    "refused": lambda: httpx.ConnectError(SENTINEL),
    "rejected": lambda: httpx.Response(401, json={"error": SENTINEL}, headers={"X": SENTINEL}),
    "html": lambda: httpx.Response(200, html=SENTINEL),
    "not JSON": lambda: httpx.Response(200, text=f'{{"choices": {SENTINEL}'),
    "error in JSON": lambda: httpx.Response(200, json={"error": {"message": SENTINEL}}),
    "broken stream": _broken_stream,
}
BODIES: dict[str, Any] = {
    "good": BODY,
    "streamed": {**BODY, "stream": True},
    "model named": {**BODY, **NAMED},
    "endpoint with a password": {**BODY, **NAMED, "model_endpoint": f"http://u:{SENTINEL}@h/v1"},
    "endpoint with a query": {**BODY, **NAMED, "model_endpoint": f"http://h/v1?key={SENTINEL}"},
    "member of a wrong type": {**BODY, "current_file": SENTINEL},
    "member missing": {"prompt_version": 2, "project_path": SENTINEL},
    "list of a wrong type": {**BODY, "context": [SENTINEL], "telemetry": [{"lang": [SENTINEL]}]},
    "key of a wrong type": {**BODY, "model_api_key": [SENTINEL]},
}


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


@pytest.mark.parametrize("policy", ModelMetadataPolicy)
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("body", BODIES)
async def test_no_text_key_or_token_is_ever_logged(
    everything_logged: pytest.LogCaptureFixture,
    policy: ModelMetadataPolicy,
    answer: str,
    body: str,
) -> None:
    token = mint(secret=SENTINEL)
    sent = headers(token, x_gitlab_host_name=SENTINEL, cookie=SENTINEL, user_agent=SENTINEL)
    call = client(ANSWERS[answer](), policy=policy).call(
        "POST", "/v2/code/completions", sent, json=BODIES[body], query=SENTINEL.encode()
    )

    await call.run()

    logged = repr([vars(record) for record in everything_logged.records])
    assert "request.finished" in logged
    assert SENTINEL not in logged
    assert token not in logged
    assert token.split(".")[1] not in logged


async def test_a_token_is_named_by_its_id(everything_logged: pytest.LogCaptureFixture) -> None:
    await client(GOOD).post("/v2/code/completions", headers(mint(jti="5b3e0f52")))

    assert "'token_id': '5b3e0f52'" in repr([vars(record) for record in everything_logged.records])


async def test_refused_token_is_not_logged(everything_logged: pytest.LogCaptureFixture) -> None:
    token = mint(aud=SENTINEL, header={"kid": SENTINEL})

    await client(GOOD).post("/v2/code/completions", headers(token))

    assert SENTINEL not in repr([vars(record) for record in everything_logged.records])
    assert token not in repr([vars(record) for record in everything_logged.records])
