"""Checklist 8 to 20: who may call. The matrix of forgeries is in the unit tests."""

from typing import Any

import jwt
import pytest

from tests.contract.house import (
    SECOND_OWN_KEY,
    STRANGER,
    House,
    Model,
    completion,
    metadata,
)
from tests.fakes.gitlab import key_id

CHECK = "/v1/prompts/model_configuration%2Fcheck"
COMPLETIONS = "/v2/code/completions"
REFUSED = "Forbidden by auth provider"


def check(model: Model) -> dict[str, Any]:
    return {"inputs": {}, "model_metadata": metadata(model)}


def symmetric(house: House) -> str:
    claims = jwt.decode(house.token(), options={"verify_signature": False})
    return jwt.encode(claims, "s" * 64, "HS256", headers={"kid": key_id(0)})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"authorization": None}, "No authorization header presented"),
        ({"authorization": "Basic dXNlcjpwYXNz"}, "Invalid authorization header"),
        (
            {"x_gitlab_authentication_type": None},
            "Invalid authentication token type - only OIDC is supported",
        ),
        (
            {"x_gitlab_authentication_type": "OIDC"},
            "Invalid authentication token type - only OIDC is supported",
        ),
        ({"authorization": "Bearer garbage"}, REFUSED),
        ({"x_gitlab_realm": "saas"}, "Header mismatch 'X-Gitlab-Realm'"),
        ({"x_gitlab_realm": None}, "Header mismatch 'X-Gitlab-Realm'"),
        ({"x_gitlab_instance_id": "inst-other"}, "Header mismatch 'X-Gitlab-Instance-Id'"),
        ({"x_gitlab_instance_id": None}, "Header mismatch 'X-Gitlab-Instance-Id'"),
    ],
)
def test_refusal_has_the_contracts_text(
    allowing: House, model: Model, changes: dict[str, str | None], text: str
) -> None:
    response = allowing.post(CHECK, check(model), **changes)

    assert (response.status_code, response.json()["error"]) == (401, text)
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert model.asked == []


@pytest.mark.parametrize(
    "claims",
    [
        {"expires_in_s": -120},
        {"nbf": 4_000_000_000},
        {"aud": "gitlab-workflow"},
        {"aud": None},
        {"iss": "https://elsewhere.example.com"},
        {"iss": "gitlab-ai-gateway"},
        {"key": STRANGER, "header": {"kid": key_id(0)}},
        {"header": {"jku": "http://127.0.0.1/keys"}},
        {"header": {"kid": None}},
        {"expires_in_s": 7200},
    ],
    ids=str,
)
def test_forged_or_stale_token_is_refused(
    allowing: House, model: Model, claims: dict[str, Any]
) -> None:
    response = allowing.post(CHECK, check(model), token=allowing.token(**claims))

    assert (response.status_code, response.json()["error"]) == (401, REFUSED)


def test_symmetric_token_is_refused(allowing: House, model: Model) -> None:
    response = allowing.post(CHECK, check(model), token=symmetric(allowing))

    assert (response.status_code, response.json()["error"]) == (401, REFUSED)


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_scheme_is_read_in_any_case(allowing: House, model: Model, scheme: str) -> None:
    response = allowing.post(CHECK, check(model), authorization=f"{scheme} {allowing.token()}")

    assert response.status_code == 200


def test_token_without_claims_checks_no_header(allowing: House, model: Model) -> None:
    token = allowing.token(gitlab_realm=None, gitlab_instance_id=None, sub=None)

    response = allowing.post(
        CHECK, check(model), token=token, x_gitlab_realm=None, x_gitlab_instance_id="other"
    )

    assert response.status_code == 200


def test_seat_count_is_not_compared(allowing: House, model: Model) -> None:
    token = allowing.token(duo_seat_count="7")

    response = allowing.post(CHECK, check(model), token=token, x_gitlab_duo_seat_count="8")

    assert response.status_code == 200


@pytest.mark.parametrize("claims", [{}, {"key": SECOND_OWN_KEY}])
def test_own_token_of_either_key_is_accepted(
    allowing: House, model: Model, claims: dict[str, Any]
) -> None:
    response = allowing.post(COMPLETIONS, completion(model), token=allowing.own_token(**claims))

    assert response.status_code == 200


def test_own_token_of_another_user_is_refused(allowing: House, model: Model) -> None:
    response = allowing.post(
        COMPLETIONS,
        completion(model),
        token=allowing.own_token(),
        x_gitlab_global_user_id="user-0000",
    )

    told = "Header mismatch 'X-Gitlab-Global-User-Id'"
    assert (response.status_code, response.json()["error"]) == (401, told)


@pytest.mark.parametrize("scopes", [["code_suggestions"], ["complete_code "], []])
def test_missing_scope_is_refused(allowing: House, model: Model, scopes: list[str]) -> None:
    token = allowing.gitlab.mint(scopes)

    response = allowing.post(COMPLETIONS, completion(model), token=token)

    told = "Unauthorized to access code completions"
    assert (response.status_code, response.json()["detail"]) == (403, told)
    assert model.asked == []


@pytest.mark.parametrize("value", ["true", "1"])
def test_no_header_stands_in_for_a_token(allowing: House, model: Model, value: str) -> None:
    response = allowing.post(COMPLETIONS, completion(model), token=None, bypass_auth=value)

    assert response.status_code == 401
