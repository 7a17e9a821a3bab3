"""What becomes of the model a caller names: matched with a registered one, or not read."""

from typing import Any

import pytest

from tests.contract.house import House, Model, completion, metadata, new_model

COMPLETIONS = "/v2/code/completions"
CHECK = "/v1/prompts/model_configuration%2Fcheck"


def served_by(house: House, name: str) -> Model:
    """Return a registered model, nothing asked of it yet."""
    return new_model(house.models, name)


def count(model: Model) -> int:
    return len(model.asked)


# --- Registered ----------------------------------------------------------------------------------


def test_matched_model_answers_with_our_key_and_name(registering: House) -> None:
    gemma = served_by(registering, "gemma")

    response = registering.post(COMPLETIONS, completion(gemma))

    assert response.status_code == 200
    assert gemma.last.headers["authorization"] == "Bearer stored-key-of-gemma"
    assert gemma.last.json["model"] == "gemma-model"


def test_matched_model_answers_in_place_of_the_choice(registering: House) -> None:
    mixtral = served_by(registering, "mixtral")
    body = completion(mixtral, model_name="mixtral")

    response = registering.post(COMPLETIONS, body)

    assert response.status_code == 200
    assert mixtral.last.path == "/v1/chat/completions"
    assert mixtral.last.headers["authorization"] == "Bearer stored-key-of-mixtral"


def test_without_a_model_the_choice_answers(registering: House) -> None:
    gemma = served_by(registering, "gemma")

    response = registering.post(COMPLETIONS, completion())

    assert response.status_code == 200
    assert gemma.last.json["model"] == "gemma-model"


def test_connection_check_tests_the_registered_model(registering: House) -> None:
    mixtral = served_by(registering, "mixtral")
    body = {"inputs": {}, "model_metadata": metadata(mixtral, name="mixtral")}

    response = registering.post(CHECK, body)

    assert response.status_code == 200
    assert mixtral.last.headers["authorization"] == "Bearer stored-key-of-mixtral"


def test_unknown_endpoint_is_told_to_the_admin_and_never_reached(
    registering: House, model: Model
) -> None:
    code = registering.post(COMPLETIONS, completion(model))
    prompt = registering.post(CHECK, {"inputs": {}, "model_metadata": metadata(model)})

    for response in (code, prompt):
        assert response.status_code == 422
        assert response.json()["detail"][0]["msg"].startswith("No active deployment serves")
    assert model.asked == []


@pytest.mark.parametrize("name", ["codestral", "mistral", "mixtral", "codegemma_2b"])
def test_another_family_at_the_endpoint_does_not_match(registering: House, name: str) -> None:
    gemma = served_by(registering, "gemma")
    before = count(gemma)

    response = registering.post(COMPLETIONS, completion(gemma, model_name=name))

    assert response.status_code == 422
    assert count(gemma) == before


# --- Ignored -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["codegemma", "gpt", "mistral"])
def test_ignored_model_is_never_reached(ignoring: House, model: Model, name: str) -> None:
    gemma = served_by(ignoring, "gemma")

    response = ignoring.post(COMPLETIONS, completion(model, model_name=name))

    assert response.status_code == 200
    assert response.json()["model"]["name"] == "Codegemma Code Completions"
    assert gemma.last.headers["authorization"] == "Bearer stored-key-of-gemma"
    assert model.asked == []


def test_ignored_metadata_may_name_any_family(ignoring: House, model: Model) -> None:
    body = {
        "inputs": {"prefix": "x", "suffix": ""},
        "model_metadata": metadata(model, name="gizmo"),
    }

    response = ignoring.post("/v1/prompts/code_suggestions/completions", body)

    assert response.status_code == 200
    assert model.asked == []


# --- In all --------------------------------------------------------------------------------------


@pytest.mark.parametrize("house", ["registering", "ignoring"])
@pytest.mark.parametrize("named", [True, False])
def test_inactive_feature_is_refused_whatever_the_caller_names(
    request: pytest.FixtureRequest, house: str, named: bool
) -> None:
    built: House = request.getfixturevalue(house)
    chat = served_by(built, "chat")
    body: dict[str, Any] = {"inputs": {"content": "x"}}
    if named:
        body["model_metadata"] = metadata(chat, name="general")

    response = built.post(
        "/v1/prompts/measure_comment_temperature",
        body,
        token=built.token("measure_comment_temperature"),
    )

    assert (response.status_code, response.json()["code"]) == (403, "feature_inactive")
