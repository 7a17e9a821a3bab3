"""Keeps the documentation on this node's disk in line with what is published."""

import asyncio
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import structlog

from docsearch.errors import DocsIndexError, InstallationUnderWay
from docsearch.installing import reconcile_docs_index
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from gateway.blocking_fetch import LoopRuns
from gateway.docs_registry import DocsRegistryPlace, package_registry, registry_door
from selfhosted_models.endpoints import UrlPolicy

log = structlog.get_logger(__name__)

EVERY_S = 60.0


class DocsUpkeep:
    """Every worker looks; of those on one node, one installs.

    Files are hashed and written in a thread; the network stays in the worker's event loop.
    """

    def __init__(
        self,
        place: DocsRegistryPlace,
        store: IndexStore,
        wanted_versions: Callable[[], Iterable[GitLabVersion | None]],
        policy: UrlPolicy,
    ) -> None:
        self._place = place
        self._store = store
        self._wanted_versions = wanted_versions
        self._loop = asyncio.get_running_loop()
        self._door = registry_door(place, policy)
        self._runs = LoopRuns(self._loop)
        self._registry = package_registry(place, self._door, self._runs)
        self._thread = ThreadPoolExecutor(1, "docs-upkeep")
        self._told: dict[GitLabVersion | None, str] = {}

    async def round(self) -> float:
        """Look once at each wanted version; return in how many seconds to look again."""
        wanted = list(self._wanted_versions())
        await self._loop.run_in_executor(self._thread, self._reconcile, wanted)
        return EVERY_S * random.uniform(0.9, 1.1)  # noqa: S311 - jitter

    async def aclose(self) -> None:
        """Stop; what has come of an index is kept for the next start."""
        self._runs.stop()
        await asyncio.to_thread(self._thread.shutdown)
        await self._door.aclose()

    def _reconcile(self, wanted: list[GitLabVersion | None]) -> None:
        """Runs in the thread. A reason is logged once, not every minute."""
        for version in wanted:
            try:
                done = reconcile_docs_index(
                    self._store, self._registry, version, self._place.trusted_keys
                )
            except InstallationUnderWay:
                continue
            except (DocsIndexError, OSError) as error:
                if not self._runs.is_stopped and self._told.get(version) != str(error):
                    log.warning(
                        "docs_index.not_installed", wanted=_name_of(version), reason=str(error)
                    )
                    self._told[version] = str(error)
                continue
            self._told.pop(version, None)
            if done and done.is_new:
                manifest = done.manifest
                log.info(
                    "docs_index.installed",
                    wanted=_name_of(version),
                    version=str(manifest.version),
                    sha256=manifest.sha256,
                    index_bytes=manifest.size,
                )


def _name_of(version: GitLabVersion | None) -> str:
    return str(version) if version else "newest"
