import jwt
import time_machine

from gateway.authentication.tokens import LIFETIME_S, issue_token
from gateway.authentication.trusted_keys import OwnKeys
from gateway.authentication.verifier import MAX_LIFETIME_S
from tests.fakes.gitlab import SERVICE_NAME, rsa_key
from tests.unit.gateway.conftest import NOW
from tests.unit.gateway.parts import OWN_KEYS, verifier
from tests.unit.gateway.signing import OWN_KEY, USER_ID, headers


def issue(**changes: object) -> tuple[str, int]:
    arguments = {"user_id": USER_ID, "scopes": {"complete_code"}, "now": NOW + 0.9, **changes}
    return issue_token(OWN_KEYS, service_name=SERVICE_NAME, **arguments)  # type: ignore[arg-type]


def read(token: str) -> dict[str, object]:
    key = rsa_key(OWN_KEY).public_key()
    return jwt.decode(token, key, ["RS256"], audience=SERVICE_NAME)


def test_header_has_no_key_id(clock: time_machine.Traveller) -> None:
    token, _ = issue()

    assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT"}


def test_claims_are_those_of_the_wire_contract(clock: time_machine.Traveller) -> None:
    token, expires_at = issue(claims={"gitlab_realm": "saas", "duo_seat_count": "10"})

    claims = read(token)

    assert claims.pop("jti")
    assert claims == {
        "iss": SERVICE_NAME,
        "aud": SERVICE_NAME,
        "sub": USER_ID,
        "iat": NOW,
        "nbf": NOW,
        "exp": expires_at,
        "scopes": ["complete_code"],
        "gitlab_realm": "saas",
        "duo_seat_count": "10",
    }


def test_token_lasts_an_hour_unless_told_otherwise() -> None:
    assert issue()[1] == NOW + LIFETIME_S == NOW + MAX_LIFETIME_S
    assert issue(lifetime_s=60)[1] == NOW + 60


def test_scopes_are_in_order_whatever_they_came_in() -> None:
    one, other = (
        jwt.decode(issue(scopes=scopes)[0], options={"verify_signature": False})["scopes"]
        for scopes in (["b", "a"], {"a", "b"})
    )

    assert one == other == ["a", "b"]


def test_empty_claims_are_left_out(clock: time_machine.Traveller) -> None:
    token, _ = issue(claims={"gitlab_realm": "", "duo_seat_count": None})

    assert {"gitlab_realm", "duo_seat_count"}.isdisjoint(read(token))


def test_every_token_has_an_id_of_its_own(clock: time_machine.Traveller) -> None:
    ids = {read(issue()[0])["jti"] for _ in range(3)}

    assert len(ids) == 3


def test_second_key_never_signs(clock: time_machine.Traveller) -> None:
    keys = OwnKeys(rsa_key(OWN_KEY), validation=rsa_key(-3))

    token, _ = issue_token(
        keys, service_name=SERVICE_NAME, user_id=USER_ID, scopes=["complete_code"], now=NOW
    )

    assert read(token)["sub"] == USER_ID


async def test_what_is_issued_is_accepted(clock: time_machine.Traveller) -> None:
    token, _ = issue(now=NOW)

    caller = await verifier().authenticate(headers(token))

    assert (caller.subject, caller.is_own_issued) == (USER_ID, True)
