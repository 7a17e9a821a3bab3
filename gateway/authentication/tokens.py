"""Tokens the gateway issues itself, for users whose IDE calls it directly."""

import uuid
from collections.abc import Iterable
from typing import Any

import jwt

from gateway.authentication.trusted_keys import OwnKeys

LIFETIME_S = 3600


def issue_token(
    own_keys: OwnKeys,
    *,
    service_name: str,
    user_id: str,
    scopes: Iterable[str],
    now: float,
    lifetime_s: int = LIFETIME_S,
    claims: dict[str, Any] | None = None,
) -> tuple[str, int]:
    """Return a signed token and when it expires, in unix seconds.

    Args:
        own_keys: The signing one signs.
        service_name: Issuer and audience.
        user_id: Subject; callers must send it as `X-Gitlab-Global-User-Id`.
        scopes: Unit primitives it permits.
        now: Wall clock, in seconds.
        lifetime_s: How long it is good for; at most an hour is accepted.
        claims: More claims; empty ones are left out.
    """
    issued_at = int(now)
    expires_at = issued_at + lifetime_s
    payload = {
        "iss": service_name,
        "aud": service_name,
        "sub": user_id,
        "iat": issued_at,
        "nbf": issued_at,
        "exp": expires_at,
        "jti": str(uuid.uuid4()),
        "scopes": sorted(scopes),
        **{name: value for name, value in (claims or {}).items() if value},
    }
    return jwt.encode(payload, own_keys.signing, algorithm="RS256"), expires_at
