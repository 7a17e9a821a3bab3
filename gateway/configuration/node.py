"""The configuration of a gateway node without a database: fetched, verified, kept on disk.

The node polls `/api/v1/serving-config/` of the configuration node. What it takes is signed by a key
it trusts and not older than what it has; keys of model servers in it are ciphertext, in transit and
on disk. While the configuration node is away, it serves from what it has, over restarts too.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings

from gateway.configuration.errors import ConfigurationError
from gateway.configuration.serving_exports import (
    ExportRefused,
    ServingExport,
    import_data,
    trusted_keys_from_settings,
    verify,
)
from gateway.configuration.sources import ConfigurationUnreadable, KeptConfiguration
from gateway.configuration.stored import StoredConfiguration, read_configuration
from selfhosted_models.endpoints import Endpoint, setting_endpoint
from selfhosted_models.errors import DeploymentError
from selfhosted_models.outbound import MAX_BODY_BYTES, Download, OutboundDoor, OutboundRequest
from selfhosted_models.serving import Clocks

log = structlog.get_logger(__name__)

FILE_NAME = "serving_config.json"
#: The copy on disk is told this often that it is still the newest.
CONFIRMED_AGAIN_AFTER_S = 60.0

_PATH = "/api/v1/serving-config"
_CLOCKS = Clocks(connect_s=3, first_token_s=5, idle_s=3, total_s=10)
_ADVICE = {
    401: "set SERVING_CONFIG_TOKEN to a token of its create_api_token, with the scope "
    "read_serving_config",
    403: "the token lacks the scope read_serving_config",
    404: "set SERVING_CONFIG_URL to the origin of the configuration node",
    400: "add the host of SERVING_CONFIG_URL to its ALLOWED_HOSTS",
}


@dataclass(frozen=True, slots=True)
class ConfigurationPlace:
    """Where the configuration is fetched, and whose signature it must have."""

    endpoint: Endpoint
    token: str = field(repr=False)
    trusted: Mapping[str, Ed25519PublicKey]


def configuration_place_from_settings() -> ConfigurationPlace | None:
    """Return the configuration node the settings name; None on a node with a database.

    Raises:
        SettingInvalid: SERVING_CONFIG_URL is not a plain http(s) URL, or a key is none.
    """
    endpoint = configuration_endpoint_from_settings()
    if endpoint is None:
        return None
    return ConfigurationPlace(endpoint, settings.SERVING_CONFIG_TOKEN, trusted_keys_from_settings())


def configuration_endpoint_from_settings() -> Endpoint | None:
    """Return where the configuration node is; None on a node with a database.

    Raises:
        SettingInvalid: SERVING_CONFIG_URL is not a plain http(s) URL.
    """
    if not settings.SERVING_CONFIG_URL:
        return None
    return setting_endpoint(
        "SERVING_CONFIG_URL",
        settings.SERVING_CONFIG_URL.rstrip("/").removesuffix(_PATH),
        "Write the origin of the configuration node, as in https://config.example.com.",
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """The signed text that is served from."""

    signed: str
    etag: str
    revision: int


@dataclass(frozen=True, slots=True)
class _Copy:
    """What is on disk."""

    held: _Held
    configuration: StoredConfiguration
    confirmed_at: float


def configuration_of_this_node() -> StoredConfiguration:
    """Return what this node serves, for commands: of its database, or a gateway node's copy.

    Raises:
        ConfigurationUnreadable: A gateway node has no copy yet, or none that may be served from.
    """
    place = configuration_place_from_settings()
    if place is None:
        return read_configuration()
    copy = _read_copy(settings.DATA_DIR / FILE_NAME, place.trusted)
    if copy is None:
        raise ConfigurationUnreadable(
            "This gateway node has no configuration that it could serve from: `manage.py doctor` "
            "says why its configuration node gives it none."
        )
    return copy.configuration


def _verified(signed: str, trusted: Mapping[str, Ed25519PublicKey]) -> ServingExport:
    return import_data(verify(signed, trusted))


def _read_copy(path: Path, trusted: Mapping[str, Ed25519PublicKey]) -> _Copy | None:
    """Return the copy on disk; None if there is none that a trusted key signed."""
    try:
        copy = orjson.loads(path.read_bytes())
        export = _verified(copy["signed"], trusted)
        held = _Held(copy["signed"], str(copy["etag"]), export.revision)
        return _Copy(held, export.configuration, float(copy["confirmed_at"]))
    except FileNotFoundError:
        return None
    except ConfigurationError as error:
        reason = str(error)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"It cannot be read ({type(error).__name__})."
    log.warning("configuration.copy_ignored", path=str(path), reason=reason)
    return None


class ConfigurationNode:
    """The configuration node, as one worker of a gateway node sees it.

    Args:
        place: Where it is.
        door: Opens the connections.
        path: The copy on disk, readable by the owner alone.
        thread: Where files are read and signatures verified.
        now: Wall clock, in seconds: it goes on while no gateway runs.
    """

    def __init__(
        self,
        place: ConfigurationPlace,
        door: OutboundDoor,
        path: Path,
        thread: Executor,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._place = place
        self._door = door
        self._path = path
        self._thread = thread
        self._now = now
        self._held: _Held | None = None
        self._written_at = 0.0

    async def kept(self) -> KeptConfiguration | None:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read_copy)

    async def read(self) -> StoredConfiguration | None:
        loop = asyncio.get_running_loop()
        etag, body = await self._fetch()
        if body is None:
            if self._now() - self._written_at >= CONFIRMED_AGAIN_AFTER_S:
                await loop.run_in_executor(self._thread, self._write_copy)
            return None
        try:
            return await loop.run_in_executor(self._thread, self._take, etag, body)
        except ConfigurationError as error:
            raise ConfigurationUnreadable(str(error)) from error

    async def aclose(self) -> None:
        await self._door.aclose()

    async def _fetch(self) -> tuple[str, bytes | None]:
        """Return the tag and body of the newest; no body if it is what is held."""
        headers = {"Authorization": f"Bearer {self._place.token}", "Accept": "application/json"}
        if self._held is not None:
            headers["If-None-Match"] = self._held.etag
        request = OutboundRequest(
            hop="The configuration node",
            endpoint=self._place.endpoint,
            path=f"{_PATH}/",
            method="GET",
            headers=headers,
        )
        headers_by = asyncio.get_running_loop().time() + _CLOCKS.first_token_s
        try:
            answer = await self._door.open_download(request, _CLOCKS, headers_by=headers_by)
            try:
                if answer.status == 304 and self._held is not None:
                    return self._held.etag, None
                if answer.status != 200:
                    advice = _ADVICE.get(answer.status, "see its own log")
                    raise ConfigurationUnreadable(
                        f"The configuration node answered {answer.status}: {advice}."
                    )
                return answer.headers.get("etag", ""), await _whole(answer)
            finally:
                await answer.aclose()
        except DeploymentError as error:
            raise ConfigurationUnreadable(error.safe_message) from error

    def _take(self, etag: str, body: bytes) -> StoredConfiguration:
        """Hold what was fetched, and keep a copy of it."""
        try:
            signed = str(orjson.loads(body)["signed"])
        except (ValueError, KeyError, TypeError) as error:
            raise ExportRefused(
                "The configuration node did not answer with a serving configuration: check "
                "SERVING_CONFIG_URL."
            ) from error
        export = _verified(signed, self._place.trusted)
        if self._held is not None and export.revision < self._held.revision:
            raise ExportRefused(
                f"The configuration node offers revision {export.revision}, older than revision "
                f"{self._held.revision} that is served. If its database was restored on purpose, "
                f"delete {self._path} and restart this node."
            )
        self._held = _Held(signed, etag, export.revision)
        self._write_copy()
        return export.configuration

    def _read_copy(self) -> KeptConfiguration | None:
        copy = _read_copy(self._path, self._place.trusted)
        if copy is None:
            return None
        self._held = copy.held
        self._written_at = confirmed_at = min(copy.confirmed_at, self._now())
        return KeptConfiguration(copy.configuration, confirmed_at)

    def _write_copy(self) -> None:
        """Replace the copy, at once for whoever reads it."""
        if self._held is None:
            return
        self._written_at = now = self._now()
        copy = {"signed": self._held.signed, "etag": self._held.etag, "confirmed_at": now}
        own = self._path.with_name(f".{self._path.name}.{os.getpid()}")  # the last worker wins
        try:
            descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(orjson.dumps(copy))
                file.flush()
                os.fsync(file.fileno())
            own.replace(self._path)
        except OSError as error:
            log.warning("configuration.copy_failed", path=str(self._path), reason=error.strerror)


async def _whole(answer: Download) -> bytes:
    body = bytearray()
    while (part := await answer.read()) is not None:
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise ConfigurationUnreadable("The configuration node sent an oversized answer.")
    return bytes(body)
