"""Sections 2.1, 2.2 and 5.4: prompts the caller of a code path wrote itself, and what is tidied."""

from typing import Any

import pytest

from tests.contract.house import House, Model, completion, file, generation
from tests.fakes.model_server import Script

COMPLETIONS, GENERATIONS = "/v2/code/completions", "/v2/code/generations"
MESSAGES = [
    {"role": "system", "content": "Code only."},
    {"role": "user", "content": "<PRE> x <SUF> y"},
]
STOPS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_separator|>"]
ESCAPED, PLAIN = "snake\\_case \\n\\\\_\\_x_\\", "snake_case \\n\\__x_\\"


def told(house: House, path: str, body: Any) -> list[str]:
    response = house.post(path, body)
    assert response.status_code == 200, response.text
    return [choice["text"] for choice in response.json()["choices"]]


def engine(house: House, path: str, body: Any) -> Any:
    response = house.post(path, body)
    assert response.status_code == 200, response.text
    return response.json()["model"]["engine"]


def direct(model: Model, **changes: Any) -> dict[str, Any]:
    """Return a generation that names no registered prompt."""
    return generation(model, prompt_id=None, **changes)


# --- Completions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_own_text_is_what_the_model_goes_on_from(
    allowing: House, model: Model, stream: bool
) -> None:
    allowing.post(COMPLETIONS, completion(model, prompt="<PRE> x <SUF> y", stream=stream))

    assert model.last.path == "/v1/completions"
    assert model.last.json == {
        "model": "codegemma",
        "prompt": "<PRE> x <SUF> y",
        "temperature": 0.95,
        "top_p": 0.95,
        "max_tokens": 16,
        "n": 1,
        "stream": stream,
    }


@pytest.mark.parametrize("identifier", ["x", "custom_openai/x"])
def test_own_text_is_one_message_in_a_chat(allowing: House, model: Model, identifier: str) -> None:
    body = completion(model, prompt="<PRE> x", model_identifier=identifier)

    assert told(allowing, COMPLETIONS, body)
    assert (model.last.path, model.last.json["model"]) == ("/v1/chat/completions", "x")
    assert model.last.json["messages"] == [{"role": "user", "content": "<PRE> x"}]
    assert model.last.json["max_tokens"] == 16


def test_own_messages_reach_a_chat_as_they_were_written(allowing: House, model: Model) -> None:
    body = completion(model, prompt_version=3, prompt=MESSAGES, model_identifier="x")

    assert told(allowing, COMPLETIONS, body)
    assert model.last.json["messages"] == MESSAGES


def test_own_messages_are_one_text_where_only_text_is_read(allowing: House, model: Model) -> None:
    assert told(allowing, COMPLETIONS, completion(model, prompt_version=3, prompt=MESSAGES))

    prompt = model.last.json["prompt"]
    assert isinstance(prompt, str)
    assert all(message["content"] in prompt for message in MESSAGES)


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_version": 1},
        {"prompt_version": 1, "prompt": "unread"},
        {"prompt_version": 2, "prompt": ""},
        {"prompt_version": 3, "prompt": None},
        {"prompt_version": 3, "prompt": []},
    ],
)
def test_without_a_prompt_of_its_own_the_registered_one_is_used(
    allowing: House, model: Model, changes: dict[str, Any]
) -> None:
    assert told(allowing, COMPLETIONS, completion(model, **changes))

    assert model.last.json["prompt"].startswith("<|fim_prefix|>def total")
    assert model.last.json["max_tokens"] == 128


@pytest.mark.parametrize("provider", ["litellm", "codestral"])
def test_own_prompt_is_answered_by_the_provider_that_was_named(
    allowing: House, model: Model, provider: str
) -> None:
    direct_one = completion(model, model_provider=provider, prompt="<PRE> x")
    registered = completion(model, model_provider=provider)

    assert engine(allowing, COMPLETIONS, direct_one) == provider
    assert engine(allowing, COMPLETIONS, registered) == "agent"


def test_own_prompt_without_a_provider_is_answered_by_the_agent(registering: House) -> None:
    registering.models.path("gemma", Script())

    assert engine(registering, COMPLETIONS, completion(prompt="<PRE> x")) == "agent"


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("anthropic", "claude-2.1"),
        ("vertex-ai", "code-gecko@002"),
        ("fireworks_ai", "codestral-2501"),
        ("anthropic", None),
    ],
)
def test_vendors_model_is_answered_by_the_choice_made_here(
    registering: House, model: Model, provider: str, name: str | None
) -> None:
    registering.models.path("gemma", Script(chunks=("z",)))
    body = completion(model, model_provider=provider, model_name=name)

    assert told(registering, COMPLETIONS, body) == ["z"]
    assert model.asked == []


def test_own_prompt_reaches_the_choice_made_here(registering: House) -> None:
    gemma = registering.models.path("gemma", Script(chunks=("z",)))

    assert gemma
    assert told(registering, COMPLETIONS, completion(prompt="<PRE> x")) == ["z"]
    assert registering.models.exchanges_at("gemma")[-1].json["prompt"] == "<PRE> x"


# --- Generations ---------------------------------------------------------------------------------


def test_generation_names_who_answered_it(allowing: House, model: Model) -> None:
    assert engine(allowing, GENERATIONS, direct(model)) == "litellm"
    assert engine(allowing, GENERATIONS, generation(model)) == "agent"


@pytest.mark.parametrize(
    ("version", "prompt", "asked"),
    [
        (2, "sum it up", [{"role": "user", "content": "sum it up"}]),
        (3, MESSAGES, MESSAGES),
    ],
)
@pytest.mark.parametrize("prompt_id", [None, ""])
def test_without_a_prompt_id_the_prompt_is_sent_as_it_is(
    allowing: House, model: Model, version: int, prompt: Any, asked: Any, prompt_id: str | None
) -> None:
    body = generation(model, prompt_version=version, prompt=prompt, prompt_id=prompt_id)

    assert told(allowing, GENERATIONS, body)
    assert model.last.path == "/v1/chat/completions"
    assert model.last.json == {
        "model": "codegemma",
        "messages": asked,
        "temperature": 0.2,
        "top_p": 0.95,
        "max_tokens": 2048,
        "n": 1,
        "stop": STOPS,
        "stream": False,
    }


@pytest.mark.parametrize(
    ("name", "stops"), [("mistral", ["</new_code>"]), ("mixtral", None), ("gpt", None)]
)
def test_direct_call_has_the_stops_of_the_line(
    allowing: House, model: Model, name: str, stops: list[str] | None
) -> None:
    assert told(allowing, GENERATIONS, direct(model, model_name=name))

    assert model.last.json.get("stop") == stops


def test_direct_answer_is_tidied_and_its_stream_is_not(allowing: House, model: Model) -> None:
    model.answers(Script(chunks=("```ruby\n", "x = 1\n```")))
    current_file = file(content_above_cursor="def total\n")

    whole = told(allowing, GENERATIONS, direct(model, current_file=current_file))
    stream = allowing.post(GENERATIONS, direct(model, current_file=current_file, stream=True))

    assert whole == ["x = 1\n"]
    assert stream.text == "```ruby\nx = 1\n```"


def test_version_1_asks_with_the_code_in_a_fence(allowing: House, model: Model) -> None:
    body = generation(model, prompt_version=1)
    del body["prompt"]

    assert told(allowing, GENERATIONS, body)
    asked = model.last.json["messages"][-1]["content"]
    assert "```\ndef total\n  items.sum \n```" in asked
    assert model.last.json["max_tokens"] == 512


def test_version_1_asks_with_the_end_of_long_code(allowing: House, model: Model) -> None:
    above = "FIRST\n" + "x = 1\n" * 8000 + "LAST\n"
    body = generation(model, prompt_version=1, current_file=file(content_above_cursor=above))

    assert told(allowing, GENERATIONS, body)
    asked = model.last.json["messages"][-1]["content"]
    fenced = asked.partition("```\n")[2]
    assert fenced.endswith("x = 1\nLAST\n\n```")
    assert 1000 < len(fenced) < len(above)


@pytest.mark.parametrize("prompt_id", ["garden/plan", "code_suggestions/completions", "chat/react"])
def test_unknown_prompt_id_is_not_found(allowing: House, model: Model, prompt_id: str) -> None:
    response = allowing.post(GENERATIONS, generation(model, prompt_id=prompt_id))

    detail = f"Prompt '{prompt_id}' not found"
    assert (response.status_code, response.json()["detail"]) == (404, detail)
    assert model.asked == []


# --- Escaped underscores -------------------------------------------------------------------------


def test_mixtrals_escaped_underscores_are_plain(allowing: House, model: Model) -> None:
    body = completion(model.answers(Script(chunks=(ESCAPED,))), model_name="mixtral")

    assert told(allowing, COMPLETIONS, body) == [PLAIN]


@pytest.mark.parametrize("cut", range(len(ESCAPED) + 1))
def test_mixtrals_escaped_underscores_are_plain_wherever_the_stream_is_cut(
    allowing: House, model: Model, cut: int
) -> None:
    model.answers(Script(chunks=(ESCAPED[:cut], ESCAPED[cut:])))

    response = allowing.post(COMPLETIONS, completion(model, model_name="mixtral", stream=True))

    assert response.text == PLAIN


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["mistral", "codegemma", "gpt"])
def test_other_lines_keep_their_backslashes(
    allowing: House, model: Model, name: str, stream: bool
) -> None:
    model.answers(Script(chunks=(*ESCAPED,)))

    response = allowing.post(COMPLETIONS, completion(model, model_name=name, stream=stream))

    text = response.text if stream else response.json()["choices"][0]["text"]
    assert text == ESCAPED


def test_unescaping_holds_nothing_back(allowing: House, model: Model) -> None:
    model.answers(Script(chunks=("snake\\_", "case"), stall=2))
    body = completion(model, model_name="mixtral", model_identifier="x", stream=True)

    with allowing.client.stream(
        "POST", COMPLETIONS, json=body, headers=allowing.headers()
    ) as response:
        parts = response.iter_text()
        first = next(parts)
        model.last.release()
        rest = "".join(parts)

    assert (first, rest) == ("snake_", "case")
