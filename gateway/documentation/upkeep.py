"""Keeps the documentation on this node's disk in line with what is published."""

import asyncio
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import structlog

from docsearch.errors import DocsIndexError, InstallationUnderWay
from docsearch.installing import Installation, Kept, reconcile_docs_index
from docsearch.models import CheckRequest, RegistryLook
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from gateway.documentation.blocking_fetch import LoopRuns
from gateway.documentation.registry import DocsRegistryPlace, package_registry, registry_door
from selfhosted_models.endpoints import UrlPolicy

log = structlog.get_logger(__name__)

EVERY_S = 60.0
READ_REQUESTS_EVERY_S = 2.0
_PROGRESS_STEPS = 20


@dataclass(frozen=True, slots=True)
class Look:
    """How a look in the registry goes; the fields are those of `RegistryLook`."""

    wanted: str
    state: RegistryLook.State
    message: str = ""
    gitlab_version: str = ""
    received_bytes: int = 0
    total_bytes: int = 0


def _unreported(_look: Look) -> None:
    pass


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
        report: Callable[[Look], None] = _unreported,
    ) -> None:
        """Keep `store` in line with the registry at `place`.

        Args:
            place: The registry.
            store: Of this node.
            wanted_versions: What callers have; None stands for the newest there is.
            policy: Which addresses may be dialled.
            report: Told, in the upkeep's thread, how each look goes.
        """
        self._report = report
        self._asked = asyncio.Event()
        self._place = place
        self._store = store
        self._wanted_versions = wanted_versions
        self._loop = asyncio.get_running_loop()
        self._door = registry_door(place, policy)
        self._runs = LoopRuns(self._loop)
        self._registry = package_registry(place, self._door, self._runs)
        self._thread = ThreadPoolExecutor(1, "docs-upkeep")
        self._next_reported = 0
        self._told: dict[GitLabVersion | None, str] = {}

    async def round(self) -> float:
        """Look once at each wanted version; return in how many seconds to look again."""
        wanted = list(self._wanted_versions())
        await self._loop.run_in_executor(self._thread, self._reconcile, wanted)
        return EVERY_S * random.uniform(0.9, 1.1)  # noqa: S311 - jitter

    async def follow(self) -> float:
        """Look, and wait until it is time to look again, or `look_now` is called."""
        wait_s = await self.round()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._asked.wait(), wait_s)
        self._asked.clear()
        return 0

    def look_now(self) -> None:
        """Look as soon as possible; any thread may call it."""
        self._loop.call_soon_threadsafe(self._asked.set)

    async def aclose(self) -> None:
        """Stop; what has come of an index is kept for the next start."""
        self._runs.stop()
        await asyncio.to_thread(self._thread.shutdown)
        await self._door.aclose()

    def _report_bytes(self, wanted: str, done: int, of: int) -> None:
        if done >= self._next_reported or done == of:
            self._next_reported = 0 if done == of else done + of // _PROGRESS_STEPS
            fetching = Look(wanted, RegistryLook.State.FETCHING)
            self._report(replace(fetching, received_bytes=done, total_bytes=of))

    def _reconcile(self, wanted: list[GitLabVersion | None]) -> None:
        """Runs in the thread. A reason is logged once, not every minute."""
        for version in wanted:
            name = str(version or "")
            self._report(Look(name, RegistryLook.State.LOOKING))
            try:
                done = reconcile_docs_index(
                    self._store,
                    self._registry,
                    version,
                    self._place.trusted_keys,
                    on_bytes=partial(self._report_bytes, name),
                )
            except InstallationUnderWay:
                continue  # whoever installs reports it
            except (DocsIndexError, OSError) as error:
                self._report(Look(name, RegistryLook.State.FAILED, str(error)))
                if not self._runs.is_stopped and self._told.get(version) != str(error):
                    log.warning(
                        "docs_index.not_installed", wanted=_name_of(version), reason=str(error)
                    )
                    self._told[version] = str(error)
                continue
            if isinstance(done, Kept):
                self._tell_kept(version, done)
            else:
                self._told.pop(version, None)
                self._tell_installed(version, done)

    def _tell_kept(self, wanted: GitLabVersion | None, kept: Kept) -> None:
        look = Look(str(wanted or ""), RegistryLook.State.KEPT, kept.reason, str(kept.version))
        self._report(look)
        if kept.is_suspicious and self._told.get(wanted) != kept.reason:
            log.warning("docs_index.not_installed", wanted=_name_of(wanted), reason=kept.reason)
        self._told[wanted] = kept.reason

    def _tell_installed(self, wanted: GitLabVersion | None, done: Installation) -> None:
        manifest = done.manifest
        look = Look(str(wanted or ""), RegistryLook.State.CURRENT, done.warning)
        self._report(replace(look, gitlab_version=str(manifest.version)))
        if done.is_new:
            log.info(
                "docs_index.installed",
                wanted=_name_of(wanted),
                version=str(manifest.version),
                sha256=manifest.sha256,
                index_bytes=manifest.size,
            )


class CheckRequests:
    """Wakes a worker when somebody, on whatever node, wants the registry looked at now."""

    def __init__(self, look_now: Callable[[], None]) -> None:
        self._look_now = look_now
        self._known_at: datetime | None = None
        self._has_read = False

    def read(self) -> None:
        """Read the request; blocks. The first one read is older than the worker, which has looked.

        Raises:
            DatabaseError, InterfaceError: The database is away.
        """
        asked_at = CheckRequest.objects.last_asked_at()
        if self._has_read and asked_at != self._known_at:
            self._look_now()
        self._known_at, self._has_read = asked_at, True


def _name_of(version: GitLabVersion | None) -> str:
    return str(version) if version else "newest"
