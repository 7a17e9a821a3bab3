"""A model server that is down, hung or answers garbage: the contract's status, in time."""

import json
from typing import Any

import httpx
import pytest

from tests.e2e.callers import CALLS, CHAT, COMPLETION, PROMPT, Call
from tests.e2e.conftest import Site
from tests.fakes.model_server import Script

#: The deployment's first-token clock is 1.5 s; the test's own client gives up after this.
NEVER_HANGS_S = 10.0

FAULTS = {
    "error 500": Script.error(500, "out of memory"),
    "error 400": Script.error(400, "bad request"),
    "wrong key": Script.error(401, "bad key"),
    "unknown model": Script.error(404, "no such model"),
    "HTML": Script.html(),
    "broken JSON": Script.malformed_json(),
    "compressed": Script(compress=True),
    "redirect": Script.redirect("http://127.0.0.1:1/v1/chat/completions"),
    "hung before the headers": Script(stall="before_headers"),
    "hung after the headers": Script(stall="after_headers"),
}
FAULTS_OF_STREAMS = {
    "endless line": Script(endless_line=True),
    "cut at once": Script(cut_after=0),
    "reset at once": Script(cut_after=0, cut="RST"),
}


@pytest.mark.parametrize(
    ("script", "stream"),
    [
        *(pytest.param(script, False, id=f"{name}, whole") for name, script in FAULTS.items()),
        *(
            pytest.param(script, True, id=f"{name}, streamed")
            for name, script in (FAULTS | FAULTS_OF_STREAMS).items()
        ),
    ],
)
@pytest.mark.parametrize("call", [COMPLETION, PROMPT], ids=lambda call: call.path)
def test_a_failed_model_server_has_the_contracts_status(
    site: Site, call: Call, script: Script, stream: bool
) -> None:
    site.models.answer_with(script)

    response = _ask(site, call, stream=stream)

    assert response.status_code == {COMPLETION.path: 503, PROMPT.path: 421}[call.path]
    body = response.json()
    assert body["code"].startswith("upstream_")
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert "model server of fake" in body["message"]
    if call is COMPLETION:
        assert body["detail"] == "Inference failed"


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (Script.error(401), 502, "upstream_rejected"),
        (Script.error(429, retry_after_s=7), 503, "upstream_rejected"),
        (Script.error(500), 502, "upstream_rejected"),
        (Script.error(503), 503, "upstream_rejected"),
        (Script(stall="before_headers"), 504, "upstream_timeout"),
        (Script.html(), 502, "upstream_bad_response"),
    ],
    ids=["401", "429", "500", "503", "hung", "HTML"],
)
def test_openai_clients_get_the_statuses_they_act_on(
    site: Site, script: Script, status: int, code: str
) -> None:
    site.models.answer_with(script)

    response = _ask(site, CHAT, stream=True)

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert ("Retry-After" in response.headers) != ("x-should-retry" in response.headers)


def test_a_server_that_is_down_is_told_at_once(site: Site) -> None:
    site.gateway.apply([{**_deployment("down"), "endpoints": ["http://127.0.0.1:9/v1"]}])
    site.gateway.apply([], {"code_completions": ["down"]})

    response = _ask(site, COMPLETION, stream=False)
    site.gateway.apply([], {"code_completions": ["fake"]})

    assert response.status_code == 503
    assert response.json()["code"] == "upstream_unreachable"
    assert response.headers["Retry-After"]


def test_a_second_endpoint_answers_when_the_first_is_down(site: Site) -> None:
    site.models.answer_with(Script())
    row = {**_deployment("pair"), "endpoints": ["http://127.0.0.1:9/v1", site.models.endpoint]}
    site.gateway.apply([row], {"code_completions": ["pair"]})

    response = _ask(site, COMPLETION, stream=False)
    site.gateway.apply([], {"code_completions": ["fake"]})

    assert response.json()["choices"][0]["text"] == "Hello, world!"


def test_a_fallback_answers_when_the_first_choice_is_down(site: Site) -> None:
    site.models.answer_with(Script())
    down = {**_deployment("gone"), "endpoints": ["http://127.0.0.1:9/v1"]}
    site.gateway.apply([down], {"duo_chat": ["gone", "fake"]})

    response = _ask(site, CHAT, stream=False)
    site.gateway.apply([], {"duo_chat": ["fake"]})

    assert response.json()["choices"][0]["message"]["content"] == "Hello, world!"
    assert site.gateway.finished(response.headers["X-Request-ID"])["deployment"] == "fake"


@pytest.mark.parametrize(
    "script",
    [
        Script(chunks=("one ", "two"), cut_after=2),
        Script(chunks=("one ", "two"), cut_after=2, cut="RST"),
        Script(chunks=("one ", "two"), finish_reason=None, done=False),
        Script(chunks=("one ", "two"), malformed_at=2),
        Script(chunks=("one ", "two"), stall=2),
    ],
    ids=["cut", "reset", "no end", "malformed", "silent"],
)
class TestFailureAfterTheFirstToken:
    @pytest.mark.parametrize("call", CALLS[:3], ids=lambda call: call.path)
    def test_a_raw_stream_is_cut_never_ended_cleanly(
        self, site: Site, script: Script, call: Call
    ) -> None:
        site.models.answer_with(script)
        received: list[bytes] = []

        with (
            httpx.stream("POST", site.url + call.path, **_request(site, call)) as response,
            pytest.raises(httpx.RemoteProtocolError),
        ):
            received.extend(response.iter_raw())

        assert response.status_code == 200

    def test_an_openai_stream_ends_in_an_error_event(self, site: Site, script: Script) -> None:
        site.models.answer_with(script)

        response = _ask(site, CHAT, stream=True)

        *_, error, done = [line for line in response.text.split("\n\n") if line]
        assert done == "data: [DONE]"
        assert json.loads(error.removeprefix("data: "))["error"]["code"].startswith("upstream_")


@pytest.mark.parametrize(
    "script",
    [
        Script(chunks=("naïve ", "🙂 ", "end"), piece_bytes=1),
        Script(chunks=("naïve ", "🙂 ", "end"), line_end="\r\n", comments=True),
        Script(chunks=("naïve ", "🙂 ", "end"), done=False),
    ],
    ids=["one byte at a time", "CRLF and comments", "no DONE"],
)
def test_odd_framing_is_relayed_intact(site: Site, script: Script) -> None:
    site.models.answer_with(script)

    response = _ask(site, COMPLETION, stream=True)

    assert response.text == "naïve 🙂 end"


def test_no_upstream_text_and_no_key_is_ever_shown(site: Site) -> None:
    for script in (Script.error(500, "sentinel-upstream"), Script.html(), Script.malformed_json()):
        site.models.answer_with(script)

        for call in CALLS:
            response = _ask(site, call, stream=False)

            assert "sentinel" not in response.text
            assert "sk-canary" not in response.text
    assert "sentinel" not in site.gateway.log()
    assert "sk-canary" not in site.gateway.log()
    assert "def area" not in site.gateway.log()


def _deployment(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "family": "general",
        "serving_format": "openai_chat",
        "model_identifier": "fake-model",
    }


def _request(site: Site, call: Call, *, stream: bool = True) -> dict[str, Any]:
    return {"json": call.streamed(stream), "headers": site.headers, "timeout": NEVER_HANGS_S}


def _ask(site: Site, call: Call, *, stream: bool) -> httpx.Response:
    return httpx.post(site.url + call.path, **_request(site, call, stream=stream))
