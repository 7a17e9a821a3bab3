"""Tokens, as a GitLab instance or the gateway itself signs them, made without a server."""

import functools
import time
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fakes.gitlab import INSTANCE_ID, SERVICE_NAME, key_id, rsa_key

ISSUER = "https://gitlab.example.com"
USER_ID = "user-1c2d"
OWN_KEY = -1  # signs the gateway's own tokens
STRANGER = -2  # a key nobody trusts


@functools.cache
def weak_key() -> rsa.RSAPrivateKey:
    """Return a key that is too short to be trusted."""
    return rsa.generate_private_key(65537, 1024)  # noqa: S505


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good instance token; None leaves one out."""
    now = int(time.time())
    content = {
        "iss": ISSUER,
        "aud": SERVICE_NAME,
        "sub": INSTANCE_ID,
        "gitlab_instance_id": INSTANCE_ID,
        "gitlab_realm": "self-managed",
        "scopes": ["complete_code", "generate_code", "duo_chat"],
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        "jti": "a-token",
        **changes,
    }
    return {name: value for name, value in content.items() if value is not None}


def mint(key: int = 0, *, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """Return an instance token signed with the key of that number.

    Args:
        key: As in `tests.fakes.gitlab.rsa_key`.
        header: Replaces members of the header; None as a value leaves one out.
        changes: Replace claims; None leaves one out.
    """
    members = {"kid": key_id(key), **(header or {})}
    sent = {name: value for name, value in members.items() if value is not None}
    return jwt.encode(claims(**changes), rsa_key(key), "RS256", headers=sent)


def mint_own(key: int = OWN_KEY, **changes: Any) -> str:
    """Return a token as the gateway issues it to a user."""
    own = {"iss": SERVICE_NAME, "sub": USER_ID, "scopes": ["complete_code"], **changes}
    return jwt.encode(claims(**own), rsa_key(key), "RS256")


def headers(token: str | None, **changes: str | None) -> dict[str, str]:
    """Return the headers that come with `token`.

    Args:
        token: None leaves `Authorization` out.
        changes: Add or replace: `x_gitlab_realm="saas"`; None leaves one out.
    """
    sent: dict[str, str | None] = {
        "Authorization": None if token is None else f"Bearer {token}",
        "X-Gitlab-Authentication-Type": "oidc",
        "X-Gitlab-Instance-Id": INSTANCE_ID,
        "X-Gitlab-Realm": "self-managed",
        "X-Gitlab-Global-User-Id": USER_ID,
    }
    sent |= {name.replace("_", "-").title(): value for name, value in changes.items()}
    return {name: value for name, value in sent.items() if value is not None}
