"""The keys that may sign tokens: those of each trusted issuer, fetched, and the gateway's own."""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.authentication.key_copies import KeyCopies, KeyCopy
from gateway.authentication.key_sets import RSA_BITS, read_key_set
from gateway.upkeep import keep_running
from selfhosted_models.endpoints import Endpoint, parse_endpoint, setting_endpoint
from selfhosted_models.errors import DeploymentError, SettingInvalid
from selfhosted_models.outbound import OutboundDoor, OutboundRequest
from selfhosted_models.serving import Clocks

log = structlog.get_logger(__name__)

FRESH_S = 600  # refreshed in the background after this
USABLE_S = 24 * 3600  # keys that could not be refreshed for this long are dropped
FORCED_FETCH_EVERY_S = 30  # at most one fetch for an unknown key id per issuer
ABSENT_S = 300  # a key id that a fetch did not find causes none again for this long
RETRY_BOUNDS_S = (0.5, 15.0)  # back-off while an issuer has no keys at all
MAX_DOCUMENT_BYTES = 64 * 1024

_CLOCKS = Clocks(connect_s=3, first_token_s=3, idle_s=3, total_s=3)


@dataclass(frozen=True, slots=True)
class IssuerSource:
    """Where the keys of one issuer are.

    Attributes:
        issuer: The exact `iss` of its tokens.
        url: Base URL of its OIDC discovery, or the key set itself.
        is_key_set: Which of the two `url` is.
    """

    issuer: str
    url: Endpoint
    is_key_set: bool


def issuer_sources(gitlab_url: str, trusted_issuers: Sequence[str]) -> tuple[IssuerSource, ...]:
    """Return the issuers the settings name.

    Args:
        gitlab_url: AIGW_GITLAB_URL.
        trusted_issuers: GATEWAY_TRUSTED_ISSUERS.

    Raises:
        SettingInvalid: A URL is not a plain http(s) URL, or an entry not `issuer=jwks_url`.
    """
    sources = []
    if gitlab_url:
        example = "Set it to the URL people open GitLab with, as in https://gitlab.example.com."
        endpoint = setting_endpoint("AIGW_GITLAB_URL", gitlab_url, example)
        sources.append(IssuerSource(gitlab_url, endpoint, is_key_set=False))
    for entry in trusted_issuers:
        remedy = "Write issuer=jwks_url pairs, separated by spaces."
        issuer, separator, url = entry.partition("=")
        if not (issuer and separator and url):
            problem = f"GATEWAY_TRUSTED_ISSUERS: {entry!r} is not of the form issuer=jwks_url."
            raise SettingInvalid(problem, remedy)
        endpoint = setting_endpoint("GATEWAY_TRUSTED_ISSUERS", url, remedy)
        sources.append(IssuerSource(issuer, endpoint, is_key_set=True))
    return tuple(sources)


@dataclass(slots=True)
class _KeysOfOne:
    source: IssuerSource
    by_id: Mapping[str, RSAPublicKey] = field(default_factory=dict)
    fetched_at: float = 0.0
    tried_at: float = float("-inf")
    retry_s: float = RETRY_BOUNDS_S[0]
    #: Key id -> when a fetch did not find it. Bounded, as fetches are: ten at a time.
    absent: dict[str, float] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_copy_due: asyncio.Event = field(default_factory=asyncio.Event)


class IssuerKeys:
    """Keys of the trusted issuers, kept fresh in the background.

    Args:
        sources: The issuers.
        door: Opens the connections.
        now: Monotonic clock, in seconds.
        copies: Where they outlive a restart.
    """

    def __init__(
        self,
        sources: Iterable[IssuerSource],
        door: OutboundDoor,
        now: Callable[[], float],
        copies: KeyCopies,
    ) -> None:
        self._issuers = {source.issuer: _KeysOfOne(source) for source in sources}
        self._door = door
        self._now = now
        self._copies = copies
        self.generation = 0  # grows whenever a key may have gone: cached verdicts end with it

    def knows(self, issuer: str) -> bool:
        return issuer in self._issuers

    def has_keys(self, issuer: str) -> bool:
        return bool(self._issuers[issuer].by_id)

    def restore(self) -> None:
        """Take the keys of the copies on disk, as old as they are; blocks, so only at the start."""
        for keys in self._issuers.values():
            source = keys.source
            copy = self._copies.read(source.issuer, source.url.url, max_age_s=USABLE_S)
            if copy is not None:
                keys.by_id, keys.fetched_at = copy.keys, self._now() - copy.age_s
                log.info("issuer_keys.restored", issuer=source.issuer, age_s=round(copy.age_s))

    async def find(self, issuer: str, key_id: str) -> RSAPublicKey | None:
        """Return the key; an unknown id causes one fetch, at most every 30 s per issuer."""
        keys = self._issuers[issuer]
        if key_id not in keys.by_id and (keys.lock.locked() or self._may_force(keys, key_id)):
            # Shielded: who leaves does not take along the fetch that others wait for.
            await asyncio.shield(self._fetch_for(keys, key_id))
        return keys.by_id.get(key_id)

    async def _fetch_for(self, keys: _KeysOfOne, key_id: str) -> None:
        async with keys.lock:  # those who come while one fetches take what it found
            if key_id in keys.by_id or not self._may_force(keys, key_id):
                return
            if await self._refresh(keys) and key_id not in keys.by_id:
                since = keys.fetched_at - ABSENT_S
                keys.absent = {known: at for known, at in keys.absent.items() if at > since}
                keys.absent[key_id] = keys.fetched_at

    def _may_force(self, keys: _KeysOfOne, key_id: str) -> bool:
        now = self._now()
        is_absent = now - keys.absent.get(key_id, float("-inf")) < ABSENT_S
        return not is_absent and now - keys.tried_at >= FORCED_FETCH_EVERY_S

    async def keep_fresh(self) -> None:
        """Refresh for ever; cancel to stop."""
        async with asyncio.TaskGroup() as group:
            for keys in self._issuers.values():
                for step in (self._refresh_and_wait, self._write_copy_when_due):
                    name = f"keys of {keys.source.issuer}"
                    group.create_task(keep_running(name, partial(step, keys)))

    async def _refresh_and_wait(self, keys: _KeysOfOne) -> float:
        """Refresh; return how long the outcome is good for."""
        async with keys.lock:
            is_fresh = await self._refresh(keys)
        if is_fresh:
            keys.retry_s = RETRY_BOUNDS_S[0]
            return FRESH_S
        wait_s = keys.retry_s * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        keys.retry_s = min(keys.retry_s * 2, RETRY_BOUNDS_S[1])
        return wait_s

    async def _write_copy_when_due(self, keys: _KeysOfOne) -> float:
        """Write what was fetched; apart from the fetch, so that no request waits for the disk."""
        await keys.is_copy_due.wait()
        keys.is_copy_due.clear()
        source, copy = keys.source, KeyCopy(keys.by_id, self._now() - keys.fetched_at)
        try:
            await asyncio.to_thread(self._copies.write, source.issuer, source.url.url, copy)
        except OSError as error:
            log.warning("issuer_keys.copy_failed", issuer=source.issuer, reason=error.strerror)
        return 0

    async def _refresh(self, keys: _KeysOfOne) -> bool:
        """Fetch once; tell whether it worked.

        A failure, or an empty set, never replaces keys that are there.
        """
        keys.tried_at = self._now()
        try:
            found = await fetch_keys(keys.source, self._door)
        except (DeploymentError, ValueError) as error:
            log.warning("issuer_keys.failed", issuer=keys.source.issuer, reason=str(error))
        else:
            self.generation += keys.by_id != found
            keys.by_id, keys.fetched_at = found, keys.tried_at
            keys.is_copy_due.set()
            log.info("issuer_keys.fetched", issuer=keys.source.issuer, key_ids=sorted(found))
            return True
        if keys.by_id and self._now() - keys.fetched_at > USABLE_S:
            keys.by_id = {}
            self.generation += 1
            log.error("issuer_keys.too_old", issuer=keys.source.issuer)
        return False


async def fetch_keys(
    source: IssuerSource, door: OutboundDoor, clocks: Clocks = _CLOCKS
) -> dict[str, RSAPublicKey]:
    """Return the signing keys an issuer publishes now, by their ids.

    Raises:
        DeploymentError: It cannot be reached, or refuses.
        ValueError: What it answers is no key set, or holds no key that fits.
    """
    if source.is_key_set:
        return read_key_set(await _get(door, source.issuer, source.url, "", clocks))
    path = "/.well-known/openid-configuration"
    document = await _get(door, source.issuer, source.url, path, clocks)
    uri = document.get("jwks_uri") if isinstance(document, dict) else None
    if not isinstance(uri, str):
        raise ValueError("the discovery document has no jwks_uri")  # noqa: TRY004 - bad data
    # Only its path is taken: the host of the keys stays the one the operator wrote.
    keys_path = urlsplit(uri).path
    if not keys_path.startswith("/"):
        raise ValueError("the jwks_uri of the discovery document has no path")
    keys_at = parse_endpoint(source.url.origin + keys_path)
    return read_key_set(await _get(door, source.issuer, keys_at, "", clocks))


async def _get(
    door: OutboundDoor, issuer: str, endpoint: Endpoint, path: str, clocks: Clocks
) -> Any:
    request = OutboundRequest(
        hop=f"The issuer {issuer}", endpoint=endpoint, path=path, method="GET"
    )
    deadline = asyncio.get_running_loop().time() + clocks.first_token_s
    body = await door.fetch(request, clocks, headers_by=deadline, max_bytes=MAX_DOCUMENT_BYTES)
    return orjson.loads(body)


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The gateway's own two keys: one signs and verifies, the other only verifies (rotation)."""

    signing: RSAPrivateKey
    validation: RSAPrivateKey | None = None

    @property
    def public(self) -> tuple[RSAPublicKey, ...]:
        keys = (self.signing, self.validation)
        return tuple(key.public_key() for key in keys if key is not None)


def load_own_keys(signing_pem: str, validation_pem: str) -> OwnKeys:
    """Return the gateway's keys.

    Raises:
        SettingInvalid: A text is not an RSA private key in PEM of 2,048 to 8,192 bits.
    """
    validation = load_own_key("VALIDATION", validation_pem) if validation_pem else None
    return OwnKeys(load_own_key("SIGNING", signing_pem), validation)


def load_own_key(purpose: str, pem: str) -> RSAPrivateKey:
    """Return the key of AIGW_SELF_SIGNED_JWT__<purpose>_KEY.

    Raises:
        SettingInvalid: It is not an RSA private key in PEM of 2,048 to 8,192 bits.
    """
    try:
        key = load_pem_private_key(pem.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError):  # its words are left out: they may hold a part of the key
        key = None
    if not isinstance(key, RSAPrivateKey) or key.key_size not in RSA_BITS:
        raise SettingInvalid(
            f"AIGW_SELF_SIGNED_JWT__{purpose}_KEY is not a private RSA key of {RSA_BITS[0]:,} to "
            f"{RSA_BITS[-1]:,} bits.",
            "Give the whole PEM text without a password, as `openssl genrsa 2048` prints it, or "
            "unset it: the key is then that of signing_key.pem in DATA_DIR.",
        )
    return key
