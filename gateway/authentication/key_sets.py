"""Key sets (JWKS): which of their keys may sign tokens, and the set as it is written down."""

import re
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MAX_KEYS = 16
#: Verifying with the longest takes about 0.5 ms, so it may stay on the event loop.
RSA_BITS = range(2048, 8192 + 1)
KEY_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def read_key_set(document: Any) -> dict[str, RSAPublicKey]:
    """Return the RSA signing keys of a JWKS by key id; unfit keys are passed over.

    Raises:
        ValueError: It is not a key set, has too many keys, or none that fits.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise ValueError(f"not a key set of at most {MAX_KEYS} keys")
    found = {}
    for item in keys:
        if (key := _read_key(item)) is not None:
            found[item["kid"]] = key
    if not found:
        raise ValueError("no RSA signing key of 2,048 to 8,192 bits, with a key id, in the key set")
    return found


def key_set_of(keys: Mapping[str, RSAPublicKey]) -> dict[str, Any]:
    """Return the JWKS that `read_key_set` reads as `keys`."""
    return {
        "keys": [
            {
                **jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True),
                "kid": key_id,
                "use": "sig",
                "alg": "RS256",
            }
            for key_id, key in keys.items()
        ]
    }


def _read_key(item: Any) -> RSAPublicKey | None:
    if not isinstance(item, dict) or item.get("kty") != "RSA":
        return None
    if item.get("use", "sig") != "sig" or item.get("alg", "RS256") != "RS256":
        return None
    if not isinstance(item.get("kid"), str) or not KEY_ID.fullmatch(item["kid"]):
        return None
    try:
        key = jwt.algorithms.RSAAlgorithm.from_jwk(item)
    except (jwt.InvalidKeyError, ValueError, TypeError):
        return None
    return key if isinstance(key, RSAPublicKey) and key.key_size in RSA_BITS else None
