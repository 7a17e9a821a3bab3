"""Checklist 60 and section 2.9: suggestions in an envelope, plain and as server-sent events."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contract.house import House, Model, house, new_model
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer, Script

V3, V4 = "/v3/code/completions", "/v4/code/suggestions"
COMPLETION, GENERATION, CONTEXT = "code_editor_completion", "code_editor_generation", "code_context"
FIM = "<|fim_prefix|>def total\n<|fim_suffix|>\nend\n<|fim_middle|>"

both_paths = pytest.mark.parametrize("path", [V3, V4])
both_kinds = pytest.mark.parametrize("kind", [COMPLETION, GENERATION])


@pytest.fixture(scope="module")
def assigned(
    gitlab_instance: GitLab, models: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Has a model for either kind of suggestion."""
    folder = tmp_path_factory.mktemp("suggesting")
    with house(folder, gitlab_instance, models, "registered") as built:
        rows = [
            ("middles", "codegemma-7b-it", "openai_text"),
            ("wholes", "general", "openai_chat"),
        ]
        built.gateway.apply(
            [
                {
                    "name": name,
                    "family": family,
                    "serving_format": serving_format,
                    "endpoints": [models.path(name)],
                    "model_identifier": f"{name}-model",
                }
                for name, family, serving_format in rows
            ],
            {"code_completions": ["middles"], "code_generations": ["wholes"]},
        )
        yield built


def answering(built: House, kind: str, *chunks: str) -> Model:
    """Return the model that answers this kind, with its next words."""
    name = "middles" if kind == COMPLETION else "wholes"
    return new_model(built.models, name).answers(Script(chunks=chunks))


def component(kind: str, **payload: Any) -> dict[str, Any]:
    edited = {
        "file_name": "cart.rb",
        "content_above_cursor": "def total\n",
        "content_below_cursor": "\nend\n",
    }
    return {"type": kind, "payload": {**edited, **payload}}


def context(name: str = "a.rb", content: str = "module A") -> dict[str, Any]:
    return {"type": CONTEXT, "payload": {"type": "file", "name": name, "content": content}}


def ask(
    built: House, path: str, *components: dict[str, Any], **headers: str | None
) -> httpx.Response:
    token = built.token("complete_code")
    return built.post(path, {"prompt_components": [*components]}, token=token, **headers)


# --- Plain answers -------------------------------------------------------------------------------


@both_paths
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (COMPLETION, "Codegemma Code Completions"),
        (GENERATION, "General Code Generations"),
    ],
)
def test_suggestion_has_the_contracts_form(
    assigned: House, path: str, kind: str, name: str
) -> None:
    answering(assigned, kind, "items.", "sum")
    before = int(time.time())

    answer = ask(assigned, path, component(kind)).json()

    assert before <= answer["metadata"].pop("timestamp") <= time.time()
    assert answer == {
        "choices": [{"text": "items.sum", "index": 0, "finish_reason": "length"}],
        "metadata": {"model": {"engine": "agent", "name": name, "lang": "ruby"}},
    }


@both_paths
@both_kinds
def test_empty_answer_has_no_choice(assigned: House, path: str, kind: str) -> None:
    answering(assigned, kind, "")

    response = ask(assigned, path, component(kind))

    assert (response.status_code, response.json()["choices"]) == (200, [])


def test_generation_comes_without_its_fences(assigned: House) -> None:
    answering(assigned, GENERATION, "```ruby\n", "items.sum\n", "```")

    answer = ask(assigned, V3, component(GENERATION)).json()

    assert answer["choices"][0]["text"] == "items.sum\n"


@pytest.mark.parametrize("prompt", [None, "", "sum up the cart"])
def test_generation_asks_with_the_instruction(assigned: House, prompt: str | None) -> None:
    model = answering(assigned, GENERATION, "x")

    response = ask(assigned, V4, component(GENERATION, prompt=prompt, prompt_id="any", extra=1))

    assert response.status_code == 200
    assert (prompt or "") in model.last.json["messages"][-1]["content"]


@pytest.mark.parametrize("choices_count", [0, 3])
def test_completion_is_one_text_to_fill_in(assigned: House, choices_count: int) -> None:
    model = answering(assigned, COMPLETION, "x")

    answer = ask(assigned, V3, component(COMPLETION, choices_count=choices_count)).json()

    assert len(answer["choices"]) == 1
    assert (model.last.path, model.last.json["prompt"]) == ("/v1/completions", FIM)


# --- Streams -------------------------------------------------------------------------------------


@both_kinds
def test_v3_streams_the_texts_and_nothing_else(assigned: House, kind: str) -> None:
    answering(assigned, kind, "```\n", "items.", "sum é")

    response = ask(assigned, V3, component(kind, stream=True))

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "x-streaming-format" not in response.headers
    assert response.text == "```\nitems.sum é"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (COMPLETION, "Codegemma Code Completions"),
        (GENERATION, "General Code Generations"),
    ],
)
def test_v4_streams_framed_events(assigned: House, kind: str, name: str) -> None:
    answering(assigned, kind, "items.", "sum\n\né")

    response = ask(assigned, V4, component(kind, stream=True))

    *messages, rest = response.content.split(b"\r\n\r\n")
    assert rest == b""
    framed = [message.split(b"\r\n") for message in messages]
    assert [event for event, _ in framed] == [
        b"event: stream_start",
        b"event: content_chunk",
        b"event: content_chunk",
        b"event: stream_end",
    ]
    start, *chunks = [json.loads(data.removeprefix(b"data: ")) for _, data in framed[:-1]]
    assert isinstance(start["metadata"].pop("timestamp"), int)
    assert start == {"metadata": {"model": {"engine": "agent", "name": name}}}
    assert chunks == [
        {"choices": [{"delta": {"content": text}, "index": 0}]} for text in ("items.", "sum\n\né")
    ]
    assert framed[-1][1] == b"data: null"
    assert response.content.count(b"\n") == response.content.count(b"\r\n")
    assert response.content.isascii()


def test_v4_stream_has_its_headers(assigned: House) -> None:
    answering(assigned, COMPLETION, "x")

    response = ask(assigned, V4, component(COMPLETION, stream=True))

    headers = ("content-type", "x-streaming-format", "cache-control", "x-accel-buffering")
    assert [response.headers[name] for name in headers] == [
        "text/event-stream; charset=utf-8",
        "sse",
        "no-store",
        "no",
    ]


def test_v4_stream_of_nothing_has_its_first_and_last_event(assigned: House) -> None:
    answering(assigned, COMPLETION, "")

    response = ask(assigned, V4, component(COMPLETION, stream=True))

    kinds = [line for line in response.text.splitlines() if line.startswith("event: ")]
    assert kinds == ["event: stream_start", "event: stream_end"]


def test_v4_answer_that_does_not_stream_is_not_marked_so(assigned: House) -> None:
    answering(assigned, COMPLETION, "x")

    response = ask(assigned, V4, component(COMPLETION))

    assert response.headers["content-type"] == "application/json"
    assert "x-streaming-format" not in response.headers


@both_paths
@pytest.mark.parametrize("stream", [False, True])
def test_failing_model_server_is_503(assigned: House, path: str, stream: bool) -> None:
    answering(assigned, COMPLETION).answers(Script.error(500, "SENTINEL"))

    response = ask(assigned, path, component(COMPLETION, stream=stream))

    assert (response.status_code, response.json()["detail"]) == (503, "Inference failed")
    assert "SENTINEL" not in response.text


@both_paths
def test_stream_that_breaks_off_never_ends_cleanly(assigned: House, path: str) -> None:
    answering(assigned, COMPLETION).answers(Script(chunks=("x", "y"), cut_after=1))
    headers = assigned.headers(assigned.token("complete_code"))
    sent = {"prompt_components": [component(COMPLETION, stream=True)]}
    received: list[bytes] = []

    with (
        assigned.client.stream("POST", path, json=sent, headers=headers) as response,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        received.extend(response.iter_raw())

    assert response.status_code == 200
    assert b"stream_end" not in b"".join(received)


# --- Context -------------------------------------------------------------------------------------


@both_paths
@pytest.mark.parametrize(
    ("version", "is_used"),
    [
        ("6.3.0", True),
        ("7.0", True),
        ("10.0.0", True),
        ("6.2.9", False),
        ("6.3.0-rc1", False),
        ("latest", False),
        ("", False),
        (None, False),
    ],
)
def test_context_is_used_for_language_servers_that_mean_it(
    assigned: House, path: str, version: str | None, is_used: bool
) -> None:
    model = answering(assigned, COMPLETION, "x")
    parts = component(COMPLETION), context(), context("b.rb", "module B")

    ask(assigned, path, *parts, x_gitlab_language_server_version=version)

    shown = FIM.replace("def total", "module A\nmodule B\ndef total") if is_used else FIM
    assert model.last.json["prompt"] == shown


@both_paths
def test_context_first_is_refused(assigned: House, path: str) -> None:
    response = ask(assigned, path, context(), component(COMPLETION))

    (item,) = response.json()["detail"]
    assert response.status_code == 422
    assert item["loc"][:3] == ["body", "prompt_components", 0]
    assert item["msg"]


def test_first_component_decides(assigned: House) -> None:
    model = answering(assigned, GENERATION, "x")
    before = len(model.asked)

    ask(assigned, V3, component(GENERATION), component(COMPLETION))

    assert len(model.asked) == before + 1


# --- Who may ask, and bodies ---------------------------------------------------------------------


@both_paths
@both_kinds
@pytest.mark.parametrize("holder", ["user", "other scopes"])
def test_caller_without_the_scope_is_refused(
    assigned: House, path: str, kind: str, holder: str
) -> None:
    other = assigned.token("generate_code", "code_suggestions")
    token = assigned.own_token() if holder == "user" else other

    response = assigned.post(path, {"prompt_components": [component(kind)]}, token=token)

    told = "Unauthorized to access code suggestions"
    assert (response.status_code, response.json()["detail"]) == (403, told)


@both_kinds
def test_unassigned_feature_says_what_to_do(allowing: House, kind: str) -> None:
    response = ask(allowing, V4, component(kind))

    assert (response.status_code, response.json()["code"]) == (503, "deployment_missing")


@both_paths
@pytest.mark.parametrize(
    ("components", "fault"),
    [
        ([], "too_short"),
        ([component(COMPLETION)] * 101, "too_long"),
        ([component("code_editor_magic")], "union_tag_invalid"),
        ([component(COMPLETION, model_provider="litellm")], "literal_error"),
        ([component(GENERATION, model_provider="litellm")], "literal_error"),
        ([component(COMPLETION, file_name="x" * 256)], "string_too_long"),
        ([component(COMPLETION, content_above_cursor="x" * 100_001)], "string_too_long"),
        ([component(COMPLETION, content_below_cursor=None)], "string_type"),
        ([component(GENERATION, prompt="x" * 400_001)], "string_too_long"),
        ([component(COMPLETION), context(content="x" * 100_001)], "string_too_long"),
        ([component(COMPLETION), context(name="x" * 1025)], "string_too_long"),
        ([{**component(COMPLETION), "metadata": {"source": "x"}}], "missing"),
    ],
    ids=range(12),
)
def test_bad_body_is_told_before_the_scope(
    assigned: House, path: str, components: list[Any], fault: str
) -> None:
    token = assigned.token("duo_chat")

    response = assigned.post(path, {"prompt_components": components}, token=token)

    (item, *_) = response.json()["detail"]
    assert response.status_code == 422
    assert (item["type"], item["loc"][:2]) == (fault, ["body", "prompt_components"])


@pytest.mark.parametrize("provider", [None, "vertex-ai", "anthropic"])
def test_vendors_provider_is_answered_by_the_choice_made_here(
    assigned: House, provider: str | None
) -> None:
    answering(assigned, COMPLETION, "x")

    part = component(COMPLETION, model_provider=provider, model_name="code-gecko@002")

    assert ask(assigned, V3, part).status_code == 200
