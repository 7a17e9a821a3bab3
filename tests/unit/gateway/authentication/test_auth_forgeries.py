"""Tokens that are refused, all with the same words: who forges learns nothing."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.authentication.key_copies import KeyCopies
from gateway.authentication.trusted_keys import IssuerKeys
from gateway.authentication.verifier import (
    LEEWAY_S,
    MAX_LIFETIME_S,
    MAX_TOKEN_BYTES,
    REFUSED,
)
from gateway.errors import TokenRefused
from tests.fakes.gitlab import INSTANCE_ID, SERVICE_NAME, key_id, public_jwk, rsa_key
from tests.unit.gateway.conftest import NOW
from tests.unit.gateway.parts import (
    NOWHERE,
    Clock,
    Instance,
    door,
    source,
    verifier,
    verifier_with,
)
from tests.unit.gateway.signing import (
    ISSUER,
    OWN_KEY,
    STRANGER,
    claims,
    headers,
    mint,
    mint_own,
    weak_key,
)

OTHER = "https://other.example.com"


def encoded(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def assembled(header: Any, payload: Any, signature: bytes = b"") -> str:
    return ".".join(map(encoded, (header, payload, signature)))


def signed_with_public_key(issuer: str) -> str:
    """HS256 whose secret is the public key, which everyone knows."""
    key = rsa_key(OWN_KEY if issuer == SERVICE_NAME else 0).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": key_id(0)}
    text = f"{encoded(header)}.{encoded(claims(iss=issuer))}"
    return f"{text}.{encoded(hmac.digest(pem, text.encode(), hashlib.sha256))}"


def with_changed_payload() -> str:
    head, _, signature = mint().split(".")
    return f"{head}.{encoded(claims(scopes=['generate_code']))}.{signature}"


FORGERIES: dict[str, Callable[[], str]] = {
    "alg none": lambda: assembled({"alg": "none", "kid": key_id(0)}, claims()),
    "alg None, own": lambda: assembled({"alg": "None"}, claims(iss=SERVICE_NAME)),
    "no alg": lambda: assembled({"typ": "JWT", "kid": key_id(0)}, claims()),
    "alg of a wrong type": lambda: assembled({"alg": ["RS256"], "kid": key_id(0)}, claims()),
    "HS256 with the public key": lambda: signed_with_public_key(ISSUER),
    "HS256 with our public key": lambda: signed_with_public_key(SERVICE_NAME),
    "RS512": lambda: jwt.encode(claims(), rsa_key(0), "RS512", headers={"kid": key_id(0)}),
    "PS256": lambda: jwt.encode(claims(), rsa_key(0), "PS256", headers={"kid": key_id(0)}),
    "jku": lambda: mint(header={"jku": "https://evil.example.com/keys"}),
    "jwk": lambda: mint(header={"jwk": public_jwk(STRANGER)}),
    "x5u": lambda: mint(header={"x5u": "https://evil.example.com/chain"}),
    "x5c": lambda: mint(header={"x5c": ["MIIB"]}),
    "crit": lambda: mint(header={"crit": ["exp"]}),
    "empty jku": lambda: mint(header={"jku": ""}),
    "no kid": lambda: mint(header={"kid": None}),
    "empty kid": lambda: mint(header={"kid": ""}),
    "kid with a path": lambda: mint(header={"kid": "../../keys/0"}),
    "kid with SQL": lambda: mint(header={"kid": "x' UNION SELECT 1 --"}),
    "kid with a line end": lambda: mint(header={"kid": f"{key_id(0)}\n"}),
    "overlong kid": lambda: mint(header={"kid": "k" * 129}),
    "unknown kid": lambda: mint(header={"kid": "k" * 128}),
    "kid of another key": lambda: mint(STRANGER, header={"kid": key_id(0)}),
    "another audience": lambda: mint(aud="gitlab-workflow"),
    "audience that only contains ours": lambda: mint(aud=f"{SERVICE_NAME}-2"),
    "no audience": lambda: mint(aud=None),
    "another issuer": lambda: mint(iss="https://evil.example.com"),
    "issuer with a final slash": lambda: mint(iss=f"{ISSUER}/"),
    "issuer in capitals": lambda: mint(iss=ISSUER.upper()),
    "no issuer": lambda: mint(iss=None),
    "list of issuers": lambda: assembled(
        {"alg": "RS256", "kid": key_id(0)}, claims(iss=[ISSUER, SERVICE_NAME]), b"sig"
    ),
    "own name with an instance's key": lambda: mint(iss=SERVICE_NAME),
    "instance's name with our key": lambda: mint(OWN_KEY, header={"kid": key_id(0)}),
    "own name with a stranger's key": lambda: mint_own(STRANGER),
    "expired": lambda: mint(exp=NOW - LEEWAY_S, iat=NOW - 60, nbf=NOW - 60),
    "not yet valid": lambda: mint(nbf=NOW + LEEWAY_S + 1),
    "issued in the future": lambda: mint(iat=NOW + LEEWAY_S + 1, exp=NOW + 600),
    "issued never": lambda: mint(iat="yesterday"),
    "no expiry": lambda: mint(exp=None),
    "expiry in words": lambda: mint(exp="never"),
    "expiry as text": lambda: mint(exp=str(NOW + 600)),
    "expiry without end": lambda: mint(exp=float("inf")),
    "not-before without end": lambda: mint(nbf=float("inf")),
    "expiry as a list": lambda: mint(exp=[NOW + 600]),
    "longer than an hour": lambda: mint(iat=NOW, exp=NOW + MAX_LIFETIME_S + 1),
    "changed payload": with_changed_payload,
    "no signature": lambda: ".".join(mint().split(".")[:2]) + ".",
    "garbage": lambda: "garbage",
    "empty": lambda: "",
    "only dots": lambda: "...",
    "five parts": lambda: "a.b.c.d.e",
    "not base64": lambda: "!!!.???.***",
    "header that is a list": lambda: assembled([1], claims(), b"sig"),
    "payload that is a list": lambda: assembled({"alg": "RS256", "kid": key_id(0)}, [1], b"sig"),
    "payload that is no JSON": lambda: assembled({"alg": "RS256"}, b"\xff\xfe", b"sig"),
    "payload nested without end": lambda: assembled({"alg": "RS256"}, b"[" * 4000, b"sig"),
    "number without end": lambda: assembled({"alg": "RS256"}, b'{"exp":' + b"9" * 5000 + b"}"),
    "huge": lambda: "a" * (MAX_TOKEN_BYTES + 1),
    "huge and good": lambda: mint(padding="x" * MAX_TOKEN_BYTES),
    "beyond ASCII": lambda: mint() + "\u0131",
    "two tokens": lambda: f"{mint()},{mint()}",
    "token and an empty header": lambda: f"{mint()},",
    "characters that decoders pass over": lambda: f"{mint()},,,,",
    "a line end within": lambda: mint().replace(".", ".\n\n\n\n", 1),
    "padding": lambda: f"{mint()}====",
    "id of a wrong type": lambda: mint(jti=7),
    "subject of a wrong type": lambda: mint(sub=["inst-7f3a"]),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_forgery_is_refused(clock: time_machine.Traveller, forge: Callable[[], str]) -> None:
    with pytest.raises(TokenRefused) as caught:
        await verifier().authenticate(headers(forge()))

    assert caught.value.detail == REFUSED


async def test_issuers_cannot_sign_for_each_other() -> None:
    one, other = Instance(), Instance(OTHER, keys=[{**public_jwk(1), "kid": key_id(0)}])
    by_host = {"gitlab.example.com": one, "other.example.com": other}

    async def answer(request: httpx.Request) -> httpx.Response:
        return await by_host[request.url.host](request)

    copies = KeyCopies(NOWHERE, time.time)
    keys = IssuerKeys([source(), source(OTHER)], door(answer), Clock(), copies)
    verify = verifier_with(keys).verify
    same_id = {"kid": key_id(0)}

    assert await verify(mint(1, iss=OTHER, header=same_id))
    with pytest.raises(TokenRefused):
        await verify(mint(1, iss=ISSUER, header=same_id))
    with pytest.raises(TokenRefused):
        await verify(mint(0, iss=OTHER, header=same_id))


def weak_jwk() -> dict[str, Any]:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(weak_key().public_key(), as_dict=True)
    return {**jwk, "kid": "weak", "use": "sig", "alg": "RS256"}


async def test_key_of_1024_bits_is_never_used() -> None:
    instance = Instance(keys=[public_jwk(0), weak_jwk()])
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = jwt.encode(claims(), weak_key(), "RS256", headers={"kid": "weak"})

    with pytest.raises(TokenRefused):
        await verifier(instance).verify(token)


@pytest.mark.parametrize(
    "times",
    [
        {"iat": NOW - 60, "nbf": NOW - 60, "exp": NOW - LEEWAY_S + 1},
        {"nbf": NOW + LEEWAY_S},
        {"iat": NOW + LEEWAY_S},
        {"iat": NOW, "exp": NOW + MAX_LIFETIME_S},
        {"iat": None, "nbf": None},
    ],
    ids=["just expired", "valid soon", "issued soon", "exactly an hour", "only an expiry"],
)
async def test_times_at_the_edge_are_accepted(
    clock: time_machine.Traveller, times: dict[str, Any]
) -> None:
    caller = await verifier().verify(mint(**times))

    assert caller.subject == INSTANCE_ID


async def test_unsigned_parts_of_a_forgery_cause_no_request_to_another_host() -> None:
    instance = Instance()
    forged = mint(header={"jku": "https://evil.example.com/keys", "kid": "unknown"})

    with pytest.raises(TokenRefused):
        await verifier(instance).verify(forged)

    assert instance.requests == []
