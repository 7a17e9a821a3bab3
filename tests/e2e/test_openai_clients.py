"""Real OpenAI clients against the real gateway: the openai package, and the llm command."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.callers import SCOPES
from tests.e2e.conftest import Site
from tests.fakes.model_server import Script

MESSAGES: Any = [{"role": "user", "content": "Hi"}]


def options(site: Site, *scopes: str) -> dict[str, Any]:
    """Return what either client of the package is made with."""
    token = site.gitlab.mint(scopes or SCOPES)
    return {"base_url": f"{site.url}/openai/v1", "api_key": token}


@pytest.fixture
def client(site: Site) -> Iterator[openai.OpenAI]:
    site.models.answer_with(Script())
    with openai.OpenAI(**options(site)) as made:
        yield made


# --- The openai package --------------------------------------------------------------------------


def test_models_can_be_listed_and_each_can_be_asked(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]

    assert listed == ["duo_chat", "code_completions", "code_generations"]
    for model in listed:
        assert client.completions.create(model=model, prompt="x").choices[0].text


def test_chat_is_answered_whole(site: Site, client: openai.OpenAI) -> None:
    site.models.answer_with(Script(chunks=("Hel", "lo"), usage=(7, 4)))

    answer = client.chat.completions.create(model="duo_chat", messages=MESSAGES)

    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 4)


def test_chat_is_streamed_in_pieces_with_its_usage(site: Site, client: openai.OpenAI) -> None:
    site.models.answer_with(Script(chunks=("Hel", "lo"), usage=(7, 4)))

    chunks = [
        *client.chat.completions.create(
            model="duo_chat",
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
        )
    ]

    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert [piece for piece in pieces if piece] == ["Hel", "lo"]
    assert chunks[-2].choices[0].finish_reason == "stop"
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.total_tokens == 11


def test_packages_own_helper_gathers_a_stream(site: Site, client: openai.OpenAI) -> None:
    site.models.answer_with(Script(chunks=("Hel", "lo")))

    with client.chat.completions.stream(model="duo_chat", messages=MESSAGES) as stream:
        whole = stream.get_final_completion()

    assert whole.choices[0].message.content == "Hello"


def test_code_is_completed_between_two_texts(site: Site, client: openai.OpenAI) -> None:
    site.models.answer_with(Script(chunks=("a", " + b")))

    answer = client.completions.create(model="code_completions", prompt="x = ", suffix="\n")
    pieces = client.completions.create(
        model="code_completions", prompt="x = ", suffix="\n", stream=True
    )

    assert answer.choices[0].text == "a + b"
    assert [piece.choices[0].text for piece in pieces] == ["a", " + b", ""]


async def test_async_client_streams(site: Site) -> None:
    site.models.answer_with(Script(chunks=("Hel", "lo")))

    async with openai.AsyncOpenAI(**options(site)) as client:
        stream = await client.chat.completions.create(
            model="duo_chat", messages=MESSAGES, stream=True
        )
        pieces = [chunk.choices[0].delta.content async for chunk in stream]

    assert [piece for piece in pieces if piece] == ["Hel", "lo"]


async def test_async_client_that_leaves_ends_the_models_work(site: Site) -> None:
    site.models.answer_with(Script(never_ends=True))

    async with openai.AsyncOpenAI(**options(site)) as client:
        stream = await client.chat.completions.create(
            model="duo_chat", messages=MESSAGES, stream=True
        )
        await anext(aiter(stream))
        await stream.close()

    assert site.models.exchanges_at("")[-1].closed_by_peer.wait(5)


@pytest.mark.parametrize(
    ("error", "param", "changes"),
    [
        (openai.NotFoundError, None, {"model": "gpt-4o"}),
        (openai.NotFoundError, None, {"model": "code_completions"}),
        (openai.PermissionDeniedError, None, {"model": "deployment:fake"}),
        (openai.BadRequestError, "n", {"n": 2}),
        (openai.BadRequestError, "temperature", {"temperature": 9}),
        (openai.BadRequestError, "tools", {"tools": [{"type": "function"}]}),
        (
            openai.BadRequestError,
            "messages.0.content",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        ),
    ],
)
def test_callers_mistake_is_the_packages_own_error(
    client: openai.OpenAI,
    error: type[openai.APIStatusError],
    param: str | None,
    changes: dict[str, Any],
) -> None:
    asked: dict[str, Any] = {"model": "duo_chat", "messages": MESSAGES}

    with pytest.raises(error) as raised:
        client.chat.completions.create(**asked | changes)

    assert raised.value.param == param
    assert raised.value.request_id


def test_bad_key_is_an_authentication_error(site: Site) -> None:
    with (
        openai.OpenAI(**{**options(site), "api_key": "sk-nonsense"}) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()


def test_overloaded_model_server_is_asked_again_when_it_says(
    site: Site, client: openai.OpenAI
) -> None:
    before = len(site.models.exchanges_at(""))
    busy = Script.error(429, retry_after_s=1)
    site.models.answer_with(busy, Script(chunks=("at last",)))

    answer = client.chat.completions.create(model="duo_chat", messages=MESSAGES)

    assert answer.choices[0].message.content == "at last"
    assert len(site.models.exchanges_at("")) == before + 2


@pytest.mark.parametrize("stream", [False, True])
def test_failure_that_will_not_pass_is_not_asked_again(
    site: Site, client: openai.OpenAI, stream: bool
) -> None:
    site.models.answer_with(Script.html())
    before = len(site.models.exchanges_at(""))

    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model="duo_chat", messages=MESSAGES, stream=stream)

    assert (raised.value.status_code, raised.value.code) == (502, "upstream_bad_response")
    assert len(site.models.exchanges_at("")) == before + 1


def test_stream_that_breaks_off_is_an_error_never_an_end(site: Site, client: openai.OpenAI) -> None:
    site.models.answer_with(Script(chunks=("Hel", "lo"), cut_after=2, cut="RST"))

    with pytest.raises(openai.APIError) as raised:
        list(client.chat.completions.create(model="duo_chat", messages=MESSAGES, stream=True))

    assert raised.value.code == "upstream_truncated"


# --- The llm command -----------------------------------------------------------------------------


@pytest.fixture
def llm_home(site: Site, tmp_path: Path) -> Path:
    """A folder of the llm command that knows the gateway's models; as docs/openai-clients.md."""
    common = {"api_base": f"{site.url}/openai/v1", "api_key_name": "selfhosted-duo"}
    models = [
        {"model_id": "duo", "model_name": "duo_chat", **common},
        {"model_id": "fill", "model_name": "code_completions", "completion": True, **common},
    ]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models), encoding="utf-8")
    return tmp_path


def llm(home: Path, site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    key = site.gitlab.mint(SCOPES)
    return subprocess.run(
        [sys.executable, "-m", "llm", "prompt", "--key", key, *arguments],
        # No plugins: the package that holds the demo's model is one, and does not load here.
        env={**os.environ, "LLM_USER_PATH": str(home), "LLM_LOAD_PLUGINS": ""},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("model", "how", "told"),
    [
        ("duo", "--usage", "7 input, 4 output"),
        ("duo", "--no-stream", ""),
        ("fill", "--no-stream", ""),
    ],
)
def test_llm_command_prints_the_answer(
    site: Site, llm_home: Path, model: str, how: str, told: str
) -> None:
    site.models.answer_with(Script(chunks=("Hel", "lo"), usage=(7, 4)))

    result = llm(llm_home, site, "-m", model, how, "Hi")

    assert (result.returncode, result.stdout.strip()) == (0, "Hello"), result.stderr
    assert told in result.stderr


def test_llm_command_prints_what_went_wrong(site: Site, llm_home: Path) -> None:
    site.models.answer_with(Script.html())

    result = llm(llm_home, site, "-m", "duo", "Hi")

    assert result.returncode == 1
    assert "model server of fake" in result.stderr
