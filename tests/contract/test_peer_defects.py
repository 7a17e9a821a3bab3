"""Section 1.6: what is known to go wrong in the peer, row by row, and must not here."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contract.agent_calls import ask, question, told
from tests.contract.house import House, Model, completion, file, generation, house, metadata
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer, Script

COMPLETIONS, GENERATIONS = "/v2/code/completions", "/v2/code/generations"
CHECK = "/v1/prompts/model_configuration%2Fcheck"


@pytest.fixture(scope="module")
def below_a_root(models: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Trusts a GitLab that lives below a relative URL root."""
    folder = tmp_path_factory.mktemp("below-a-root")
    with (
        GitLab(relative_url_root="/gitlab") as instance,
        house(folder, instance, models, "allow") as built,
    ):
        yield built


def legacy_chat(model: Model) -> dict[str, Any]:
    payload = {"content": "Hi", "provider": "litellm", "model": "mixtral"}
    payload |= {"model_endpoint": model.endpoint, "model_identifier": "x"}
    about = {"source": "GitLab EE", "version": "18.0.1"}
    return {"prompt_components": [{"type": "prompt", "metadata": about, "payload": payload}]}


def good(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    "name", ["codegemma", "codellama", "deepseekcoder", "mistral", "mixtral", "codestral"]
)
def test_row_1_nothing_below_the_cursor_is_nothing_in_the_prompt(
    allowing: House, model: Model, name: str
) -> None:
    current_file = file(content_above_cursor="x = 1", content_below_cursor="")

    good(allowing.post(COMPLETIONS, completion(model, model_name=name, current_file=current_file)))

    assert "None" not in model.last.json["prompt"]


@pytest.mark.parametrize("name", ["mistral", "mixtral", "codestral", "gpt", "claude_3"])
def test_row_2_completion_prompt_knows_file_and_language(
    allowing: House, model: Model, name: str
) -> None:
    body = completion(model, model_name=name, model_identifier="x")

    good(allowing.post(COMPLETIONS, body))

    asked = "\n".join(message["content"] for message in model.last.json["messages"])
    assert "cart.rb" in asked
    assert "ruby" in asked


@pytest.mark.parametrize("name", ["mistral", "mixtral", "codestral", "gpt", "claude_3"])
def test_row_3_system_and_user_are_one_prompt(allowing: House, model: Model, name: str) -> None:
    good(allowing.post(COMPLETIONS, completion(model, model_name=name)))

    (asked,) = model.asked
    assert asked.path == "/v1/completions"
    assert isinstance(asked.json["prompt"], str)
    assert "def total\n  items.sum " in asked.json["prompt"]


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("path", [COMPLETIONS, GENERATIONS, "/v1/chat/agent"])
def test_row_4_failed_model_server_is_json_503(
    allowing: House, model: Model, path: str, status: int
) -> None:
    model.answers(Script.error(status))
    bodies = {COMPLETIONS: completion(model), GENERATIONS: generation(model)}

    response = allowing.post(path, bodies.get(path) or legacy_chat(model))

    assert (response.status_code, response.json()["detail"]) == (503, "Inference failed")


@pytest.mark.parametrize("version", ["^2.0.0", "2.0.0", "<1.0"])
def test_row_5_version_that_none_satisfies_is_json_422(
    allowing: House, model: Model, version: str
) -> None:
    body = {"inputs": {}, "model_metadata": metadata(model), "prompt_version": version}

    response = allowing.post(CHECK, body)

    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


@pytest.mark.parametrize("path", [COMPLETIONS, GENERATIONS])
@pytest.mark.parametrize("name", ["llama3", "qwen2p5-coder-7b", "claude_3.5", "gemini", "general"])
def test_row_6_every_line_has_its_prompt(
    allowing: House, model: Model, path: str, name: str
) -> None:
    made = completion if path == COMPLETIONS else generation

    answer = good(allowing.post(path, made(model, model_name=name, model_identifier="x")))

    assert len(answer["choices"]) == 1


def test_row_6_unknown_line_is_json_422(allowing: House, model: Model) -> None:
    response = allowing.post(GENERATIONS, generation(model, model_name="gizmo"))

    (item,) = response.json()["detail"]
    assert (response.status_code, item["loc"]) == (422, ["body", 2, "model_name"])


@pytest.mark.parametrize("text", ["", " ", "?!…", "AND", "OR", "NOT", "a AND", '"', "*", "ci MR"])
def test_row_7_no_query_is_too_odd_to_search_with(allowing: House, text: str) -> None:
    body = {
        "type": "search-docs",
        "metadata": {"source": "GitLab EE", "version": "18.0.1"},
        "payload": {"query": text},
    }
    token = allowing.token("documentation_search")

    response = allowing.post("/v1/search/gitlab-docs", body, token=token)

    assert response.status_code in {200, 422}


def test_row_8_gateway_is_ready_without_any_vendor(allowing: House) -> None:
    response = allowing.client.get("/monitoring/ready")

    assert (response.status_code, response.json()) == (200, {})


@pytest.mark.parametrize("key", [None, ""])
@pytest.mark.parametrize("changes", [{}, {"prompt": "x"}, {"model_identifier": "custom_openai/x"}])
def test_row_9_without_a_key_there_is_no_authorization(
    allowing: House, model: Model, key: str | None, changes: dict[str, str]
) -> None:
    good(allowing.post(COMPLETIONS, completion(model, model_api_key=key, **changes)))
    told(ask(allowing, question(model, named={"api_key": key})))

    assert len(model.asked) == 2
    assert all("authorization" not in asked.headers for asked in model.asked)


def test_row_10_own_prompt_is_sent_upstream(allowing: House, model: Model) -> None:
    good(allowing.post(COMPLETIONS, completion(model, prompt="<PRE> x", model_identifier="y")))

    assert model.last.json["model"] == "y"
    assert model.last.json["messages"] == [{"role": "user", "content": "<PRE> x"}]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_row_11_long_instruction_is_no_error(allowing: House, model: Model, version: int) -> None:
    words = "sum up the cart " * 4000
    prompt = [{"role": "user", "content": words}] if version == 3 else words
    body = generation(model, prompt_version=version, prompt=prompt)
    body["current_file"] = file(content_above_cursor="# " + words)

    good(allowing.post(GENERATIONS, body))

    assert "sum up the cart" in model.last.json["messages"][-1]["content"]


def test_row_12_tokens_are_those_the_model_server_counted(allowing: House, model: Model) -> None:
    model.answers(Script(usage=(21, 5)))
    context = [{"type": "file", "name": "a.rb", "content": "module A"}]

    answer = good(allowing.post(COMPLETIONS, completion(model, context=context)))

    counts = answer["model"]["tokens_consumption_metadata"]
    assert (counts["input_tokens"], counts["output_tokens"]) == (21, 5)
    assert 0 < counts["context_tokens_used"] == counts["context_tokens_sent"] < 10


def test_row_12_tokens_nobody_counted_are_not_told(allowing: House, model: Model) -> None:
    model.answers(Script(usage=None))

    answer = good(allowing.post(COMPLETIONS, completion(model)))

    assert answer["model"]["tokens_consumption_metadata"] is None


def test_row_13_relative_url_root_is_kept(below_a_root: House, model: Model) -> None:
    response = below_a_root.post(COMPLETIONS, completion(model))

    good(response)
    assert below_a_root.gitlab.url.endswith("/gitlab")
    assert below_a_root.gitlab.discovery_hits >= 1
