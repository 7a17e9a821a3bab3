"""A fake of the GitLab instance in front of the gateway: it publishes keys and signs tokens.

with GitLab() as gitlab:
    token = gitlab.mint(scopes=["duo_chat"])
    response = client.get(url, headers=gitlab.headers(token))
"""

import asyncio
import base64
import functools
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fakes.loopback import Connection, LoopbackServer, Request, json_body, send_whole

SERVICE_NAME = "gitlab-ai-gateway"
INSTANCE_ID = "inst-7f3a"
DISCOVERY_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/oauth/discovery/keys"  # where GitLab has it

# How an endpoint may fail: status 500, no answer until the peer leaves, a login page, no keys.
Fault = Literal["error", "hang", "html", "no_keys"]


_key_lock = threading.Lock()  # a test and the fake's own thread may want the same first key


def rsa_key(number: int) -> rsa.RSAPrivateKey:
    """Return a key that is the same for the same number in one test process: making one is slow.

    The instances use 0 and up; take a negative number for a key that no instance publishes.
    """
    with _key_lock:
        return _make_rsa_key(number)


@functools.cache
def _make_rsa_key(number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_id(number: int) -> str:
    return f"gitlab-key-{number}"


def public_jwk(number: int) -> dict[str, str]:
    """Return the public half of `rsa_key(number)` as GitLab publishes it."""
    numbers = rsa_key(number).public_key().public_numbers()
    jwk = {"kty": "RSA", "kid": key_id(number), "use": "sig", "alg": "RS256"}
    return {**jwk, "n": _base64_of(numbers.n), "e": _base64_of(numbers.e)}


def _base64_of(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class GitLab(LoopbackServer):
    """The fake.

    Args:
        relative_url_root: Path that the instance lives below, like `/gitlab`.

    Attributes:
        url: Its base URL, with the relative URL root; also the issuer of its tokens.
        discovery_hits: Requests for the OpenID configuration so far.
        keys_hits: Requests for the keys so far.
        discovery_fault: How the OpenID configuration fails; None works.
        keys_fault: How the keys fail; None works.
        clock_ahead_s: Of the true time, in the Date of its answers.
    """

    def __init__(self, *, relative_url_root: str = "") -> None:
        super().__init__()
        self.discovery_hits = 0
        self.keys_hits = 0
        self.discovery_fault: Fault | None = None
        self.keys_fault: Fault | None = None
        self.clock_ahead_s = 0.0
        self._root = relative_url_root
        self._published = [0]

    def base_url(self, origin: str) -> str:
        return origin + self._root

    def rotate(self, *, keep_old: bool = False) -> None:
        """Sign with a new key from now on; the old one is no longer published unless kept."""
        new = self._published[-1] + 1
        self._published = [*self._published, new] if keep_old else [new]

    def mint(
        self,
        scopes: Sequence[str] = (),
        *,
        expires_in_s: int = 3600,
        key: int | None = None,
        header: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Return a token as GitLab signs it.

        Args:
            scopes: Unit primitives.
            expires_in_s: Seconds from now; negative for a token that has expired.
            key: Number of the key that signs; None is the instance's newest.
            header: Replaces values of the token's header; None as a value leaves it out.
            claims: Replace claims; None leaves one out.
        """
        signing = self._published[-1] if key is None else key
        now = int(time.time())
        issued = min(now, now + expires_in_s - 60)  # an expired token was issued before it expired
        content = {
            "iss": self.url,
            "aud": SERVICE_NAME,
            "sub": INSTANCE_ID,
            "gitlab_instance_id": INSTANCE_ID,
            "gitlab_realm": "self-managed",
            "scopes": list(scopes),
            "iat": issued,
            "nbf": issued,
            "exp": now + expires_in_s,
            "jti": str(uuid.uuid4()),
            **claims,
        }
        sent_header = {"kid": key_id(signing), **(header or {})}
        return jwt.encode(
            {name: value for name, value in content.items() if value is not None},
            rsa_key(signing),
            "RS256",
            headers={name: value for name, value in sent_header.items() if value is not None},
        )

    def headers(self, token: str | None, **extra: str | None) -> dict[str, str]:
        """Return the headers that Rails sends with `token`.

        Args:
            token: None leaves `Authorization` out.
            extra: Add or replace: `x_gitlab_realm="saas"`; None leaves one out.
        """
        headers: dict[str, str | None] = {
            "Authorization": None if token is None else f"Bearer {token}",
            "X-Gitlab-Authentication-Type": "oidc",
            "X-Gitlab-Instance-Id": INSTANCE_ID,
            "X-Gitlab-Realm": "self-managed",
            "X-Gitlab-Global-User-Id": "user-1c2d",
            "X-Gitlab-Host-Name": "gitlab.example.com",
            "X-Gitlab-Version": "18.0.0",
            "X-Gitlab-Duo-Seat-Count": "10",
            "X-Gitlab-Feature-Enabled-By-Namespace-Ids": "",
            "X-Gitlab-Rails-Send-Start": f"{time.time():.3f}",
            "X-Request-Id": uuid.uuid4().hex,
            "User-Agent": "Ruby",
        }
        headers |= {name.replace("_", "-").title(): value for name, value in extra.items()}
        return {name: value for name, value in headers.items() if value is not None}

    async def respond(self, request: Request, connection: Connection) -> None:
        path = request.path
        if path == self._root + DISCOVERY_PATH:
            self.discovery_hits += 1
            content = {"issuer": self.url, "jwks_uri": self.url + KEYS_PATH}
            await self._answer(connection, self.discovery_fault, content)
        elif path == self._root + KEYS_PATH:
            self.keys_hits += 1
            keys = [] if self.keys_fault == "no_keys" else [*map(public_jwk, self._published)]
            await self._answer(connection, self.keys_fault, {"keys": keys})
        else:
            send_whole(connection, json_body({"error": "404 Not Found"}), status=404)

    async def _answer(
        self, connection: Connection, fault: Fault | None, content: dict[str, Any]
    ) -> None:
        if fault == "hang":
            await asyncio.Event().wait()  # cancelled once the peer has gone
        elif fault == "error":
            send_whole(connection, json_body({"error": "500 Internal"}), status=500)
        elif fault == "html":
            send_whole(connection, b"<html><body>Sign in</body></html>", content_type="text/html")
        else:
            date = formatdate(time.time() + self.clock_ahead_s, usegmt=True)
            send_whole(connection, json_body(content), headers={"Date": date})
