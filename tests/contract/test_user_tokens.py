"""Checklist 21 to 24: tokens for IDEs that call the gateway directly."""

import time
from typing import Any

import jwt
import pytest

from tests.contract.house import OWN_KEY, USER_ID, House, Model, completion, generation
from tests.fakes.gitlab import INSTANCE_ID, SERVICE_NAME, rsa_key

PATH = "/v1/code/user_access_token"
DENIED = "Unauthorized to create user access token for code suggestions"


def issued(house: House, **claims: Any) -> dict[str, Any]:
    response = house.post(PATH, token=house.token("complete_code", **claims))
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def read(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        token, rsa_key(OWN_KEY).public_key(), ["RS256"], audience=SERVICE_NAME
    )
    return claims


def test_answer_is_a_token_and_its_expiry(allowing: House) -> None:
    answer = issued(allowing)

    assert answer.keys() == {"token", "expires_at"}
    assert answer["expires_at"] == read(answer["token"])["exp"]
    assert time.time() < answer["expires_at"] <= time.time() + 3600


def test_claims_are_those_of_the_wire_contract(allowing: House) -> None:
    claims = read(issued(allowing, duo_seat_count="10")["token"])

    assert {name: claims[name] for name in claims.keys() - {"iat", "nbf", "exp", "jti"}} == {
        "iss": SERVICE_NAME,
        "aud": SERVICE_NAME,
        "sub": USER_ID,
        "scopes": ["complete_code"],
        "gitlab_realm": "self-managed",
        "gitlab_instance_id": INSTANCE_ID,
        "duo_seat_count": "10",
    }


def test_token_serves_completions_and_nothing_else(allowing: House, model: Model) -> None:
    token = issued(allowing)["token"]

    served = allowing.post("/v2/code/completions", completion(model), token=token)
    generated = allowing.post("/v2/code/generations", generation(model), token=token)
    minted = allowing.post(PATH, token=token)

    assert served.status_code == 200
    told = "Unauthorized to access code generations"
    assert (generated.status_code, generated.json()["detail"]) == (403, told)
    assert (minted.status_code, minted.json()["detail"]) == (403, DENIED)


def test_own_token_with_every_scope_still_cannot_generate_or_mint(
    allowing: House, model: Model
) -> None:
    token = allowing.own_token("complete_code", "generate_code")

    generated = allowing.post("/v2/code/generations", generation(model), token=token)
    minted = allowing.post(PATH, token=token)

    assert (generated.status_code, minted.status_code) == (403, 403)


@pytest.mark.parametrize("sent", [None, ""])
@pytest.mark.parametrize(
    "name", ["X-Gitlab-Global-User-Id", "X-Gitlab-Instance-Id", "X-Gitlab-Realm"]
)
def test_missing_header_is_named(allowing: House, name: str, sent: str | None) -> None:
    token = allowing.token(gitlab_realm=None, gitlab_instance_id=None, sub=None)

    response = allowing.post(PATH, token=token, **{name.lower().replace("-", "_"): sent})

    assert (response.status_code, response.json()["detail"]) == (400, f"Missing {name} header")


def test_headers_are_told_in_order(allowing: House) -> None:
    token = allowing.token(gitlab_realm=None, gitlab_instance_id=None, sub=None)

    response = allowing.post(
        PATH,
        token=token,
        x_gitlab_realm=None,
        x_gitlab_instance_id=None,
        x_gitlab_global_user_id=None,
    )

    assert response.json()["detail"] == "Missing X-Gitlab-Global-User-Id header"


def test_scope_is_told_before_the_headers(allowing: House) -> None:
    token = allowing.token("generate_code")

    response = allowing.post(PATH, token=token, x_gitlab_global_user_id=None)

    assert (response.status_code, response.json()["detail"]) == (403, DENIED)


def test_user_id_may_be_any_text(allowing: House) -> None:
    response = allowing.post(PATH, x_gitlab_global_user_id="o'neil <1>")

    assert read(response.json()["token"])["sub"] == "o'neil <1>"
