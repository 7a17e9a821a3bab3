"""Checklist 41 to 44: code generation."""

from typing import Any

import pytest

from tests.contract.house import House, Model, completion, file, generation
from tests.fakes.model_server import Script

PATH = "/v2/code/generations"
FENCED = Script(chunks=("```ruby\n", "items.sum(&:price)\n", "```"))


@pytest.mark.parametrize(
    ("above", "text"),
    [("def total\n", "items.sum(&:price)\n"), ("def total", "\nitems.sum(&:price)\n")],
)
def test_code_comes_without_its_fences_on_a_line_of_its_own(
    allowing: House, model: Model, above: str, text: str
) -> None:
    body = generation(model.answers(FENCED), current_file=file(content_above_cursor=above))

    response = allowing.post(PATH, body)

    assert response.status_code == 200
    assert [choice["text"] for choice in response.json()["choices"]] == [text]


def test_model_is_asked_with_prefix_and_instruction(allowing: House, model: Model) -> None:
    long = "x = 1\n" * 3000

    allowing.post(PATH, generation(model, current_file=file(content_above_cursor=long)))

    assert model.last.path == "/v1/chat/completions"
    assert [message["role"] for message in model.last.json["messages"]][0] == "system"
    asked = "".join(message["content"] for message in model.last.json["messages"])
    assert "sum up the cart" in asked
    assert long in asked
    assert (model.last.json["temperature"], model.last.json["max_tokens"]) == (0.95, 512)
    assert "stop" not in model.last.json


@pytest.mark.parametrize("text", ["", " \n", "```ruby\n```"])
def test_answer_of_nothing_has_no_choice(allowing: House, model: Model, text: str) -> None:
    response = allowing.post(PATH, generation(model.answers(Script(chunks=(text,)))))

    assert response.json()["choices"] == []


def test_empty_prompt_is_legal(allowing: House, model: Model) -> None:
    assert allowing.post(PATH, generation(model, prompt="")).status_code == 200


def test_null_prompt_is_refused(allowing: House, model: Model) -> None:
    response = allowing.post(PATH, generation(model, prompt=None))

    (item,) = response.json()["detail"]
    assert response.status_code == 422
    assert (item["type"], item["loc"]) == ("string_type", ["body", 2, "prompt"])


def test_prompt_of_messages_reaches_the_model_as_text(allowing: House, model: Model) -> None:
    messages = [{"role": "user", "content": "sum up the cart"}]

    allowing.post(PATH, generation(model, prompt_version=3, prompt=messages))

    asked = model.last.json["messages"][-1]["content"]
    assert "sum up the cart" in asked
    assert "role" not in asked


@pytest.mark.parametrize("endpoint", [None, "", "gpu1"])
def test_missing_endpoint_is_named_in_a_string(
    allowing: House, model: Model, endpoint: str | None
) -> None:
    response = allowing.post(PATH, generation(model, model_endpoint=endpoint))

    detail = response.json()["detail"]
    assert response.status_code == 422
    assert isinstance(detail, str)
    assert "endpoint" in detail


def test_stream_keeps_the_fences(allowing: House, model: Model) -> None:
    response = allowing.post(PATH, generation(model.answers(FENCED), stream=True))

    assert response.text == FENCED.text


def test_missing_scope_is_refused(allowing: House, model: Model) -> None:
    response = allowing.post(PATH, generation(model), token=allowing.token("complete_code"))

    told = "Unauthorized to access code generations"
    assert (response.status_code, response.json()["detail"]) == (403, told)


@pytest.mark.parametrize(
    "body", [{}, {"prompt_version": 2}, {**completion(), "prompt_version": 2, "prompt": 7}]
)
def test_bad_body_is_refused(allowing: House, body: dict[str, Any]) -> None:
    response = allowing.post(PATH, body)

    assert response.status_code == 422
    assert all(item["loc"][0] == "body" for item in response.json()["detail"])
