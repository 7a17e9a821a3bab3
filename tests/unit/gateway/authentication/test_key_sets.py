"""Which keys are fit: of a key set, and of the gateway's own."""

import base64
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.authentication.key_sets import MAX_KEYS, key_set_of, read_key_set
from gateway.authentication.trusted_keys import load_own_keys
from selfhosted_models.errors import SettingInvalid
from tests.fakes.gitlab import key_id, public_jwk, rsa_key
from tests.unit.gateway.signing import weak_key


def jwk_of(key: rsa.RSAPublicKey | rsa.RSAPrivateKey) -> dict[str, Any]:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True)
    return {**jwk, "kid": "odd", "use": "sig", "alg": "RS256"}


def pem_of(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def encoded_number(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


UNFIT: dict[str, Any] = {
    "elliptic curve": {"kty": "EC", "kid": "odd", "crv": "P-256", "x": "AA", "y": "AA"},
    "shared secret": {"kty": "oct", "kid": "odd", "k": "AAAA"},
    "for encryption": {**public_jwk(1), "use": "enc"},
    "another algorithm": {**public_jwk(1), "alg": "RS512"},
    "no key id": {name: value for name, value in public_jwk(1).items() if name != "kid"},
    "key id of a wrong type": {**public_jwk(1), "kid": 7},
    "key id with a space": {**public_jwk(1), "kid": "a key"},
    "1024 bits": jwk_of(weak_key().public_key()),
    "8200 bits": {**public_jwk(1), "n": encoded_number((1 << 8200) - 1)},
    "private": jwk_of(rsa_key(1)),
    "no modulus": {"kty": "RSA", "kid": "odd", "e": "AQAB"},
    "modulus of a wrong type": {"kty": "RSA", "kid": "odd", "e": "AQAB", "n": 7},
    "modulus that is not base64": {"kty": "RSA", "kid": "odd", "e": "AQAB", "n": "\u0131!"},
    "exponent one": {**public_jwk(1), "e": "AQ"},
    "even exponent": {**public_jwk(1), "e": "Ag"},
    "empty exponent": {**public_jwk(1), "e": ""},
    "text": "odd",
    "null": None,
}


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT.keys())
def test_unfit_key_is_passed_over(unfit: Any) -> None:
    found = read_key_set({"keys": [unfit, public_jwk(0)]})

    assert found == {key_id(0): rsa_key(0).public_key()}


def test_set_of_nothing_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="no RSA signing key of 2,048 to 8,192 bits"):
        read_key_set({"keys": [UNFIT["1024 bits"]]})


def test_as_many_keys_as_allowed_are_read() -> None:
    keys = [{**public_jwk(0), "kid": f"key-{number}"} for number in range(MAX_KEYS)]

    assert len(read_key_set({"keys": keys})) == MAX_KEYS


def test_more_keys_than_allowed_are_refused() -> None:
    keys = [{**public_jwk(0), "kid": f"key-{number}"} for number in range(MAX_KEYS + 1)]

    with pytest.raises(ValueError, match=f"at most {MAX_KEYS} keys"):
        read_key_set({"keys": keys})


def test_set_that_is_written_down_is_read_as_it_was() -> None:
    keys = {key_id(number): rsa_key(number).public_key() for number in (0, 1)}

    assert read_key_set(key_set_of(keys)) == keys


def test_own_keys_are_read_from_pem_with_line_ends_written_out() -> None:
    one_line = pem_of(rsa_key(0)).replace("\n", "\\n")

    keys = load_own_keys(one_line, pem_of(rsa_key(1)))

    assert keys.public == (rsa_key(0).public_key(), rsa_key(1).public_key())


@pytest.mark.parametrize(
    "pem",
    [pem_of(weak_key()), pem_of(ec.generate_private_key(ec.SECP256R1())), "not a key"],
    ids=["1024 bits", "elliptic curve", "no key"],
)
def test_unfit_own_key_is_refused(pem: str) -> None:
    with pytest.raises(SettingInvalid, match="SIGNING_KEY is not a private RSA key"):
        load_own_keys(pem, "")
