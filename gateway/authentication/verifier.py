"""Who is calling: from a bearer token to a `Caller`, or a 401 with the wire contract's text."""

import hashlib
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.authentication.denied_tokens import DenyList
from gateway.authentication.key_sets import KEY_ID
from gateway.authentication.refusal_limit import RefusalLimit
from gateway.authentication.trusted_keys import IssuerKeys, OwnKeys
from gateway.errors import KeysUnavailable, RefusalsExceeded, TokenRefused

MAX_TOKEN_BYTES = 8 * 1024
MAX_LIFETIME_S = 3600
LEEWAY_S = 30
CACHED_TOKENS = 4096

REFUSED = "Forbidden by auth provider"
#: Base64 decoders pass over other characters, so that one token would have many spellings.
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
#: Header members that would let a token bring its own key, or that we would have to understand.
_REFUSED_HEADER_MEMBERS = {"jku", "jwk", "x5u", "x5c", "crit"}


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified caller.

    Attributes:
        subject: Instance id, or the user's id in a token of our own; may be empty.
        scopes: Unit primitives the token carries.
        is_own_issued: Whether this gateway issued the token to a user.
        realm: Claim `gitlab_realm`; may be empty.
        instance_id: Claim `gitlab_instance_id`; may be empty.
        seat_count: Claim `duo_seat_count` as text; may be empty.
        token_id: Claim `jti`, by which an operator can deny the token; may be empty.
    """

    subject: str
    scopes: frozenset[str]
    is_own_issued: bool
    realm: str = ""
    instance_id: str = ""
    seat_count: str = ""
    token_id: str = ""


@dataclass(frozen=True, slots=True)
class _Verified:
    caller: Caller
    expires_at: float
    generation: int
    key_id: str


class TokenVerifier:
    """Verifies tokens; remembers verdicts on good ones until they expire or a key goes.

    Args:
        issuer_keys: Keys of the instances that may call.
        own_keys: Keys of the gateway itself.
        service_name: Audience of every token, and issuer of our own.
        now: Wall clock, in seconds.
        deny_list: Of the operator; holds for remembered verdicts too.
        refusals: Of bad tokens, by address. It never bars one that was found good before.
    """

    def __init__(
        self,
        issuer_keys: IssuerKeys,
        own_keys: OwnKeys,
        service_name: str,
        now: Callable[[], float],
        *,
        deny_list: DenyList,
        refusals: RefusalLimit,
    ) -> None:
        self._deny_list = deny_list
        self._refusals = refusals
        self._issuer_keys = issuer_keys
        self._own_public = own_keys.public
        self._service_name = service_name
        self._now = now
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    async def authenticate(
        self, headers: Mapping[str, str], address: str = "", *, repeats_claims: bool = True
    ) -> Caller:
        """Return the caller the request headers prove.

        Args:
            headers: Of the request.
            address: Where it came from.
            repeats_claims: Whether the caller is one of GitLab's, whose headers repeat what the
                token claims; of others, only what they send is compared.

        Raises:
            TokenRefused: They prove none.
            RefusalsExceeded: Too many tokens from there were refused to look at another.
            KeysUnavailable: The token's issuer is trusted and none of its keys is known yet.
        """
        token = _bearer_token(headers, names_its_type=repeats_claims)
        caller = await self.verify(token, address)
        owner = "X-Gitlab-Global-User-Id" if caller.is_own_issued else "X-Gitlab-Instance-Id"
        for name, claim in (
            ("X-Gitlab-Realm", caller.realm),
            ("X-Gitlab-Instance-Id", caller.instance_id),
            (owner, caller.subject),
        ):
            if repeats_claims or name in headers:
                _require_equal(headers, name, claim)
        return caller

    async def verify(self, token: str, address: str = "") -> Caller:
        """Return the caller `token` proves; raises as `authenticate`."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is None or not self._still_holds(known):
            self._verified.pop(digest, None)
            known = await self._verify(token, address)
            self._verified[digest] = known
            if len(self._verified) > CACHED_TOKENS:
                self._verified.popitem(last=False)
        return known.caller

    def _still_holds(self, known: _Verified) -> bool:
        return (
            known.generation == self._issuer_keys.generation
            and self._now() < known.expires_at
            and not self._deny_list.holds(key_id=known.key_id, token_id=known.caller.token_id)
        )

    async def _verify(self, token: str, address: str) -> _Verified:
        # What needs no key to be refused costs next to nothing: it neither counts nor is barred.
        keys = await self._candidate_keys(token)
        if self._refusals.is_reached(address):
            raise RefusalsExceeded("Too many bad tokens came from this address: wait a second.")
        try:
            signed = self._verify_signature(token, keys)
        except TokenRefused:
            self._refusals.count(address)
            raise
        claims = signed["payload"]
        _require_sane_times(claims, self._now())
        verified = _Verified(
            caller=_caller_of(claims, is_own_issued=claims["iss"] == self._service_name),
            expires_at=claims["exp"] + LEEWAY_S,
            generation=self._issuer_keys.generation,
            key_id=_text(signed["header"].get("kid")),
        )
        if not self._still_holds(verified):
            raise TokenRefused(REFUSED)
        return verified

    def _verify_signature(self, token: str, keys: Iterable[RSAPublicKey]) -> dict[str, Any]:
        """Return header and payload; about 0.2 ms, so it stays on the event loop."""
        for key in keys:
            try:
                return jwt.decode_complete(
                    token,
                    key,
                    algorithms=["RS256"],
                    audience=self._service_name,
                    leeway=LEEWAY_S,
                    options={"require": ["exp", "iss", "aud"], "verify_iat": False},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.InvalidTokenError as error:
                raise TokenRefused(REFUSED) from error
        raise TokenRefused(REFUSED)

    async def _candidate_keys(self, token: str) -> tuple[RSAPublicKey, ...]:
        """Return the keys that may have signed `token`, going by what it claims of itself."""
        try:
            unverified = jwt.decode_complete(token, options={"verify_signature": False})
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise TokenRefused(REFUSED) from error
        header, issuer = unverified["header"], unverified["payload"].get("iss")
        if _REFUSED_HEADER_MEMBERS & header.keys() or header.get("alg") != "RS256":
            raise TokenRefused(REFUSED)
        if issuer == self._service_name:
            return self._own_public
        key_id = header.get("kid")
        if not isinstance(issuer, str) or not self._issuer_keys.knows(issuer):
            raise TokenRefused(REFUSED)
        if not isinstance(key_id, str) or not KEY_ID.fullmatch(key_id):
            raise TokenRefused(REFUSED)
        key = await self._issuer_keys.find(issuer, key_id)
        if key is not None:
            return (key,)
        if not self._issuer_keys.has_keys(issuer):
            raise KeysUnavailable(
                f"The signing keys of {issuer} could not be fetched yet: check that this gateway "
                "can reach it."
            )
        raise TokenRefused(REFUSED)


def _bearer_token(headers: Mapping[str, str], *, names_its_type: bool) -> str:
    authorization = headers.get("Authorization")
    if authorization is None:
        raise TokenRefused("No authorization header presented")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise TokenRefused("Invalid authorization header")
    kind = headers.get("X-Gitlab-Authentication-Type")
    if kind != "oidc" and (names_its_type or kind is not None):
        raise TokenRefused("Invalid authentication token type - only OIDC is supported")
    token = token.strip()
    if len(token) > MAX_TOKEN_BYTES or not _TOKEN.fullmatch(token):
        raise TokenRefused(REFUSED)
    return token


def _require_equal(headers: Mapping[str, str], name: str, claim: str) -> None:
    """An empty claim switches its check off."""
    if claim and headers.get(name) != claim:
        raise TokenRefused(f"Header mismatch '{name}'")


def _require_sane_times(claims: Mapping[str, Any], now: float) -> None:
    expires_at, issued_at = claims["exp"], claims.get("iat", now)
    if not _is_time(expires_at) or not _is_time(issued_at) or issued_at > now + LEEWAY_S:
        raise TokenRefused(REFUSED)
    if expires_at - issued_at > MAX_LIFETIME_S + (0 if "iat" in claims else LEEWAY_S):
        raise TokenRefused(REFUSED)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _caller_of(claims: Mapping[str, Any], *, is_own_issued: bool) -> Caller:
    scopes = claims.get("scopes")
    seat_count = claims.get("duo_seat_count")
    return Caller(
        subject=_text(claims.get("sub")),
        scopes=frozenset(map(str, scopes)) if isinstance(scopes, list) else frozenset(),
        is_own_issued=is_own_issued,
        realm=_text(claims.get("gitlab_realm")),
        instance_id=_text(claims.get("gitlab_instance_id")),
        seat_count="" if seat_count is None else str(seat_count),
        token_id=_text(claims.get("jti")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
