"""An IDE that calls the gateway itself: Rails gets a token for its user, the language server uses
it. Source: wire contract, 2.8, 4.5 and 10.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.e2e.callers import COMPLETION, CURRENT_FILE, GENERATION, PROMPT
from tests.e2e.conftest import Site
from tests.fakes.gitlab import INSTANCE_ID
from tests.fakes.model_server import Exchange, Script

TOKENS, COMPLETIONS = "/v1/code/user_access_token", "/v2/code/completions"
ENVELOPED, SUGGESTIONS = "/v3/code/completions", "/v4/code/suggestions"
USER_ID = "user-9f8e"


@dataclass(frozen=True, slots=True)
class DirectAccess:
    """What Rails hands to a language server: where, with which token, and what to send along."""

    base_url: str
    token: str
    headers: dict[str, str]


def rails_direct_access(site: Site) -> DirectAccess:
    """Do what Rails does when an IDE asks it for direct access."""
    of_user = {"x_gitlab_global_user_id": USER_ID, "x_gitlab_realm": "self-managed"}
    rails = site.gitlab.headers(site.gitlab.mint(["complete_code"]), **of_user)
    response = httpx.post(site.url + TOKENS, headers=rails)
    assert response.status_code == 200, response.text
    forwarded = {
        "X-Gitlab-Global-User-Id": USER_ID,
        "X-Gitlab-Instance-Id": INSTANCE_ID,
        "X-Gitlab-Realm": "self-managed",
        "X-Gitlab-Host-Name": "gitlab.example.com",
        "X-Gitlab-Version": "18.0.0",
        "X-Gitlab-Authentication-Type": "oidc",
    }
    return DirectAccess(site.url, response.json()["token"], forwarded)


@pytest.fixture
def language_server(site: Site) -> Iterator[httpx.Client]:
    """A client that knows nothing but what Rails has handed to it."""
    access = rails_direct_access(site)
    headers = access.headers | {
        "Authorization": f"Bearer {access.token}",
        "User-Agent": "code-completions-language-server-experiment (gitlab.vim 1.0.0)",
        "X-Gitlab-Language-Server-Version": "7.17.1",
    }
    with httpx.Client(base_url=access.base_url, headers=headers, timeout=30) as client:
        yield client


def typed(**changes: Any) -> dict[str, Any]:
    """Return what a language server sends while its user types."""
    told = {"model_engine": "agent", "model_name": "x", "requests": 3, "accepts": 1, "errors": 0}
    return {
        "prompt_version": 1,
        "project_path": "shop/cart",
        "project_id": -1,
        "current_file": CURRENT_FILE,
        "telemetry": [told],
        "context": [{"type": "file", "name": "unit.py", "content": "SIDES = 4"}],
        "stream": False,
        **changes,
    }


def enveloped(stream: bool) -> dict[str, Any]:
    component = {"type": "code_editor_completion", "payload": {**CURRENT_FILE, "stream": stream}}
    return {"prompt_components": [component]}


def asked(site: Site, seen: int) -> Exchange:
    """Return the one request the model server has had since it had `seen`."""
    exchange = site.models.wait_for_request(seen)
    assert len(site.models.exchanges) == seen + 1
    return exchange


def test_completion_reaches_the_editor(site: Site, language_server: httpx.Client) -> None:
    site.models.answer_with(Script(chunks=("w ", "* h")))
    seen = len(site.models.exchanges)

    answer = language_server.post(COMPLETIONS, json=typed())

    assert answer.status_code == 200, answer.text
    assert [choice["text"] for choice in answer.json()["choices"]] == ["w * h"]
    assert answer.json()["model"]["lang"] == "python"
    sent = asked(site, seen)
    assert sent.headers["authorization"] == "Bearer sk-canary-0123456789abcdef"
    assert "SIDES = 4" in str(sent.json)
    assert USER_ID not in str(sent.json) + str(sent.headers)


@pytest.mark.parametrize("path", [COMPLETIONS, "/v2/completions"])
def test_first_text_is_shown_while_the_model_still_writes(
    site: Site, language_server: httpx.Client, path: str
) -> None:
    site.models.answer_with(Script(chunks=("w ", "* ", "h"), stall=2))
    seen = len(site.models.exchanges)

    with language_server.stream("POST", path, json=typed(stream=True)) as answer:
        texts = answer.iter_text()
        first, model = next(texts), asked(site, seen)
        is_over_too_early = model.completed.is_set()
        model.release()
        rest = "".join(texts)

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (first, rest, is_over_too_early) == ("w ", "* h", False)


def test_event_stream_of_rails_begins_while_the_model_still_writes(site: Site) -> None:
    site.models.answer_with(Script(chunks=("w ", "* h"), stall=2))
    seen = len(site.models.exchanges)

    with httpx.stream(
        "POST", site.url + SUGGESTIONS, json=enveloped(stream=True), headers=site.headers
    ) as answer:
        lines = answer.iter_lines()
        until_text = [next(lines) for _ in range(5)]
        model = asked(site, seen)
        is_over_too_early = model.completed.is_set()
        model.release()
        rest = [*lines]

    assert answer.headers["x-streaming-format"] == "sse"
    assert until_text[0] == "event: stream_start"
    assert until_text[3] == "event: content_chunk"
    assert '"content": "w "' in until_text[4]
    assert not is_over_too_early
    assert '"content": "* h"' in "".join(rest)
    assert rest[-3:-1] == ["event: stream_end", "data: null"]


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        (ENVELOPED, enveloped(stream=False), "Unauthorized to access code suggestions"),
        (SUGGESTIONS, enveloped(stream=True), "Unauthorized to access code suggestions"),
        (GENERATION.path, GENERATION.body, "Unauthorized to access code generations"),
        (TOKENS, None, "Unauthorized to create user access token for code suggestions"),
        (
            "/v2/chat/agent",
            {"messages": [{"role": "user", "content": "Hi"}]},
            "Unauthorized to access duo chat",
        ),
        (PROMPT.path, PROMPT.body, "Unauthorized to access 'code_suggestions/generations'"),
    ],
)
def test_users_token_is_for_completions_alone(
    site: Site, language_server: httpx.Client, path: str, body: Any, detail: str
) -> None:
    seen = len(site.models.exchanges)

    refused = language_server.post(path, json=body)

    assert (refused.status_code, refused.json()["detail"]) == (403, detail)
    assert len(site.models.exchanges) == seen


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Gitlab-Global-User-Id", "user-0000"),
        ("X-Gitlab-Instance-Id", "inst-other"),
        ("X-Gitlab-Realm", "saas"),
    ],
)
def test_users_token_is_for_its_user_alone(
    language_server: httpx.Client, name: str, value: str
) -> None:
    refused = language_server.post(COMPLETIONS, json=typed(), headers={name: value})

    assert (refused.status_code, refused.json()["error"]) == (401, f"Header mismatch '{name}'")


def test_users_token_is_gone_from_what_the_gateway_logs(
    site: Site, language_server: httpx.Client
) -> None:
    language_server.post(COMPLETIONS, json=typed(), headers={"X-Request-Id": "ide-1"})

    event = site.gateway.finished("ide-1")
    assert (event["status"], event["feature"]) == (200, COMPLETION.feature)
    signature = language_server.headers["authorization"].rpartition(".")[2]
    assert signature not in site.gateway.log()
    assert USER_ID not in site.gateway.log()
