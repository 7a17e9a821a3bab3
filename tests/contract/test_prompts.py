"""Checklist 45 to 51: prompts by their id."""

from typing import Any

import pytest

from tests.contract.house import House, Model, metadata
from tests.fakes.model_server import Script

CHECK = "/v1/prompts/model_configuration%2Fcheck"
COMPLETION = "/v1/prompts/code_suggestions/completions"
FAMILIES = ["mistral", "mixtral", "codegemma", "codestral", "llama3", "gpt", "claude_3", "qwen3"]


def check(model: Model, **changes: Any) -> dict[str, Any]:
    return {"inputs": {}, "model_metadata": metadata(model, **changes)}


@pytest.mark.parametrize("path", [CHECK, "/v1/prompts/model_configuration/check"])
def test_connection_check_answers_with_a_json_string(
    allowing: House, model: Model, path: str
) -> None:
    response = allowing.post(path, check(model.answers(Script(chunks=("Hello!",)))))

    assert (response.status_code, response.text) == (200, '"Hello!"')
    assert model.last.path == "/v1/chat/completions"
    assert model.last.headers["authorization"] == "Bearer key-beta"
    asked = {name: model.last.json[name] for name in ("model", "max_tokens", "temperature")}
    assert asked == {"model": "house-model", "max_tokens": 12, "temperature": 0}


@pytest.mark.parametrize("family", FAMILIES)
def test_connection_check_is_there_for_every_family(
    allowing: House, model: Model, family: str
) -> None:
    assert allowing.post(CHECK, check(model, name=family)).status_code == 200


@pytest.mark.parametrize(
    ("identifier", "path", "sent"),
    [
        ("", "/v1/chat/completions", "mistral"),
        (None, "/v1/chat/completions", "mistral"),
        ("m", "/v1/chat/completions", "m"),
        ("openai/m", "/v1/chat/completions", "m"),
        ("custom_openai/org/m:tag", "/v1/chat/completions", "org/m:tag"),
    ],
)
def test_identifier_says_dialect_and_model(
    allowing: House, model: Model, identifier: str | None, path: str, sent: str
) -> None:
    allowing.post(CHECK, check(model, identifier=identifier))

    assert (model.last.path, model.last.json["model"]) == (path, sent)


def test_empty_answer_is_an_empty_string(allowing: House, model: Model) -> None:
    response = allowing.post(CHECK, check(model.answers(Script(chunks=("",)))))

    assert response.text == '""'


def test_stream_is_the_texts_and_nothing_else(allowing: House, model: Model) -> None:
    body = {**check(model.answers(Script(chunks=("Hel", "lo"), piece_bytes=1))), "stream": True}

    response = allowing.post(CHECK, body)

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.text == "Hello"


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        (Script.error(400), "400: Bad Request"),
        (Script.error(401), "401: Unauthorized"),
        (Script.error(404), "404: Not Found"),
        (Script.error(422), "400: Bad Request"),
        (Script.error(429), "429: Too Many Requests"),
        (Script.error(503), "503: Service Unavailable"),
        (Script.html(), "500: Internal Server Error"),
    ],
)
def test_failing_model_server_is_421_with_its_status(
    allowing: House, model: Model, script: Script, detail: str
) -> None:
    response = allowing.post(CHECK, check(model.answers(script)))

    assert (response.status_code, response.json()["detail"]) == (421, detail)


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "http://127.0.0.1:1/v1"},
        {"identifier": "bedrock/m"},
        {"identifier": "", "provider": "litellm"},
    ],
)
def test_model_that_cannot_be_asked_is_421(
    allowing: House, model: Model, changes: dict[str, Any]
) -> None:
    response = allowing.post(CHECK, check(model, **changes))

    told = (response.status_code, response.json()["detail"])
    assert told == (421, "500: Internal Server Error")


def test_model_server_that_hangs_fails_the_check_in_three_seconds(
    allowing: House, model: Model
) -> None:
    response = allowing.post(CHECK, check(model.answers(Script(stall="before_headers"))))

    assert (response.status_code, response.json()["detail"]) == (421, "408: Request Timeout")
    assert float(response.headers["x-process-time"]) < 4


@pytest.mark.parametrize(
    ("prompt_id", "family"),
    [("garden/plan", "mistral"), ("model_configuration%2Fcheck", "gizmo"), ("chat", "gpt")],
)
def test_unknown_id_or_family_is_not_found(
    allowing: House, model: Model, prompt_id: str, family: str
) -> None:
    response = allowing.post(
        f"/v1/prompts/{prompt_id}", check(model, name=family), token=allowing.token("none")
    )

    told = f"Prompt '{prompt_id.replace('%2F', '/')}' not found"
    assert (response.status_code, response.json()["detail"]) == (404, told)


@pytest.mark.parametrize("prompt_id", ["model_configuration/check", "chat/explain_code"])
def test_missing_scope_is_told_with_the_id(allowing: House, model: Model, prompt_id: str) -> None:
    path = f"/v1/prompts/{prompt_id}"

    response = allowing.post(path, check(model), token=allowing.token("duo_chat"))

    told = f"Unauthorized to access '{prompt_id}'"
    assert (response.status_code, response.json()["detail"]) == (403, told)


@pytest.mark.parametrize("version", ["not-a-version", "^", "latest", "1" * 200])
def test_unreadable_version_is_refused(allowing: House, model: Model, version: str) -> None:
    body = {**check(model), "prompt_version": version}

    response = allowing.post(CHECK, body, token=allowing.token("none"))

    assert (response.status_code, response.json()["detail"]) == (422, "Invalid version constraint")


@pytest.mark.parametrize("version", ["", None, "^1.0.0", "1.0.0", "~1.0", ">=1.0,<2.0", "1.*"])
def test_version_of_the_first_line_is_found(
    allowing: House, model: Model, version: str | None
) -> None:
    assert allowing.post(CHECK, {**check(model), "prompt_version": version}).status_code == 200


def test_version_that_does_not_exist_is_422(allowing: House, model: Model) -> None:
    response = allowing.post(CHECK, {**check(model), "prompt_version": "^7.0.0"})

    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


def test_agent_is_not_supported_here(allowing: House, model: Model) -> None:
    response = allowing.post("/v1/prompts/chat/react", check(model))

    told = "Prompt 'chat/react' is not supported"
    assert (response.status_code, response.json()["detail"]) == (422, told)


def test_missing_input_is_named(allowing: House, model: Model) -> None:
    body = {**check(model, name="codegemma"), "inputs": {"prefix": "x"}}

    response = allowing.post(COMPLETION, body)

    assert response.status_code == 422
    assert "suffix" in response.json()["detail"]


@pytest.mark.parametrize(
    ("changes", "kind", "place"),
    [
        ({"endpoint": ""}, "url_parsing", ["endpoint"]),
        ({"endpoint": "gpu1"}, "url_parsing", ["endpoint"]),
        ({"name": "x" * 256}, "string_too_long", ["name"]),
        ({"provider": None}, "string_type", ["provider"]),
        ({"identifier": "x" * 256}, "string_too_long", ["identifier"]),
    ],
)
def test_bad_metadata_is_told_with_its_place(
    allowing: House, model: Model, changes: dict[str, Any], kind: str, place: list[str]
) -> None:
    response = allowing.post(CHECK, check(model, **changes))

    (item,) = response.json()["detail"]
    assert response.status_code == 422
    assert (item["type"], item["loc"]) == (kind, ["body", "model_metadata", *place])


REVIEWERS = "/v1/prompts/suggested_reviewers"
RANKED = '{"reviewers": [{"username": "dana", "reason": "She wrote it."}]}'


def reviewers(model: Model, **changes: Any) -> dict[str, Any]:
    inputs = {"candidates": [{"username": "dana"}], "changed_files": ["geo.py"]}
    return {"inputs": inputs, "model_metadata": metadata(model, **changes)}


@pytest.mark.parametrize("stream", [False, True])
def test_reviewers_are_the_contracts_json(allowing: House, model: Model, stream: bool) -> None:
    model.answers(Script(chunks=(f"Sure.\n```json\n{RANKED}\n```",)))

    response = allowing.post(
        REVIEWERS,
        {**reviewers(model), "stream": stream},
        token=allowing.token("suggest_reviewers"),
    )

    assert response.status_code == 200
    assert (response.text if stream else response.json()) == RANKED
    assert len(response.headers["x-gitlab-duo-prompt-digest"]) == 16


def test_answer_that_breaks_the_contract_twice_is_refused(allowing: House, model: Model) -> None:
    model.answers(Script(chunks=('{"reviewers": [{"username": "eve", "reason": "hm"}]}',)))

    response = allowing.post(REVIEWERS, reviewers(model), token=allowing.token("suggest_reviewers"))

    told = (response.status_code, response.json()["detail"], response.json()["code"])
    assert told == (421, "502: Bad Gateway", "output_invalid")
    assert len(model.asked) == 2


def test_absent_inputs_are_missing(allowing: House, model: Model) -> None:
    (item,) = allowing.post(CHECK, {"model_metadata": metadata(model)}).json()["detail"]

    told = (item["type"], item["loc"], item["msg"])
    assert told == ("missing", ["body", "inputs"], "Field required")


def test_connection_check_without_a_model_says_what_it_needs(allowing: House) -> None:
    response = allowing.post(CHECK, {"inputs": {}})

    assert (response.status_code, response.json()["code"]) == (503, "deployment_missing")
