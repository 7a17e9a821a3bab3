"""The search engine of DOCS_SEARCH_URL: through the outbound door, and only if one is named."""

import asyncio
import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from django.conf import settings

from docsearch.backend import SearchBackend
from docsearch.store import IndexStore
from gateway.documentation.blocking_fetch import (
    LoopRuns,
    Runs,
    Server,
    door_for_command,
    fetch_through,
)
from gateway.documentation.local import local_backend
from selfhosted_models.endpoints import Endpoint, UrlPolicy, setting_endpoint
from selfhosted_models.errors import SettingInvalid
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.serving import Clocks

if TYPE_CHECKING:
    from docsearch.opensearch.backend import OpenSearchBackend

#: A search ends within its hard stop; what is loaded takes longer.
_SEARCH_CLOCKS = Clocks(connect_s=0.4, first_token_s=0.5, idle_s=0.5, total_s=0.5)
_COMMAND_CLOCKS = Clocks(connect_s=5, first_token_s=60, idle_s=30, total_s=120)


@dataclass(frozen=True, slots=True)
class DocsEnginePlace:
    """Where the search engine is; `headers` let us in."""

    endpoint: Endpoint
    headers: dict[str, str] = field(repr=False)


def docs_engine_from_settings() -> DocsEnginePlace | None:
    """Return the search engine the settings name, if any.

    Raises:
        SettingInvalid: DOCS_SEARCH_URL is not a plain http(s) URL, or needs a client that is not
            installed.
    """
    if not settings.DOCS_SEARCH_URL:
        return None
    endpoint = setting_endpoint(
        "DOCS_SEARCH_URL",
        settings.DOCS_SEARCH_URL,
        "Write the URL of an OpenSearch or Elasticsearch, as in https://search:9200.",
    )
    if find_spec("opensearchpy") is None:
        raise SettingInvalid(
            "DOCS_SEARCH_URL is set, and opensearch-py is not installed.",
            "Install requirements-opensearch.txt, as docs/documentation-search.md says.",
        )
    return DocsEnginePlace(endpoint, _headers_of(settings.DOCS_SEARCH_TOKEN))


def _headers_of(token: str) -> dict[str, str]:
    """Return the header of an API key, or of `user:password`."""
    if not token:
        return {}
    if ":" in token:
        return {"authorization": "Basic " + base64.b64encode(token.encode()).decode()}
    return {"authorization": f"ApiKey {token}"}


class EngineAccess:
    """A worker's way to the search engine; made in its event loop.

    Attributes:
        backend: Answers questions; its methods block, and never in the loop.
        loader: The same with time enough for loading an index.
        thread: Loads; what it does is interrupted when the worker stops.
    """

    def __init__(self, place: DocsEnginePlace, policy: UrlPolicy) -> None:
        self._door = _door(place, policy)
        self._runs = LoopRuns(asyncio.get_running_loop())
        self.backend: SearchBackend = _backend(place, self._door, self._runs, _SEARCH_CLOCKS)
        self.loader = _backend(place, self._door, self._runs, _COMMAND_CLOCKS)
        self.thread = ThreadPoolExecutor(1, "docs-engine")

    async def aclose(self) -> None:
        """Interrupt what is asked, and close every connection."""
        self._runs.stop()
        await asyncio.to_thread(self.thread.shutdown)
        await self._door.aclose()


@contextmanager
def open_engine(
    place: DocsEnginePlace, clocks: Clocks = _COMMAND_CLOCKS
) -> Iterator["OpenSearchBackend"]:
    """Open the search engine for a command."""
    policy = UrlPolicy(settings.UPSTREAM_ALLOWED_CIDRS, settings.UPSTREAM_ALLOWED_HOSTS)
    with door_for_command(lambda: _door(place, policy)) as (door, runs):
        yield _backend(place, door, runs, clocks)


@contextmanager
def open_backend() -> Iterator[SearchBackend]:
    """Open what the gateway searches, for a command: the engine, or this node's indexes."""
    if place := docs_engine_from_settings():
        with open_engine(place) as engine:
            yield engine
        return
    local = local_backend(IndexStore.below(settings.DATA_DIR), is_hybrid=bool(settings.DOCS_HYBRID))
    try:
        yield local
    finally:
        local.close()


def _door(place: DocsEnginePlace, policy: UrlPolicy) -> OutboundDoor:
    """Return a door to the engine; a URL of the environment skips only the allow-list."""
    return OutboundDoor(policy.trusting([place.endpoint.host]))


def _backend(
    place: DocsEnginePlace, door: OutboundDoor, runs: Runs, clocks: Clocks
) -> "OpenSearchBackend":
    from docsearch.opensearch.backend import OpenSearchBackend
    from docsearch.opensearch.connection import open_client

    server = Server(
        "The search engine",
        place.endpoint,
        clocks,
        advice="Check DOCS_SEARCH_URL, and that this node reaches it.",
        is_told_to_admins=clocks is not _SEARCH_CLOCKS,
    )
    return OpenSearchBackend(open_client(fetch_through(door, server, runs), place.headers))
