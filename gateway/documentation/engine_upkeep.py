"""What is installed on the nodes reaches the search engine too, once for all of them."""

import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import structlog

from docsearch.errors import DocsIndexError, IndexMissing, InstallationUnderWay
from docsearch.index import DocsIndex
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from gateway.models import Lease

if TYPE_CHECKING:
    from docsearch.opensearch.backend import OpenSearchBackend

log = structlog.get_logger(__name__)

LOAD_EVERY_S = 30.0
LEASE = "documentation.engine"
#: A loading that died is taken over by another node after so long.
_LOADED_WITHIN_S = 900.0


class EngineUpkeep:
    """Loads what is installed on this node and newer than what the engine was ever given.

    Any worker of any node with a database may do it; a lease in the database lets one at a time.
    An operator who goes back to an older index with `load_docs_index` is not overruled.
    """

    def __init__(self, store: IndexStore, engine: "OpenSearchBackend") -> None:
        self._store = store
        self._engine = engine
        self._told = ""

    def load_newer(self) -> None:
        """Load what is due; blocks. Why it cannot be done is logged once, not every time.

        Raises:
            DatabaseError, InterfaceError: The database is away.
        """
        try:
            if self._due():
                with suppress(InstallationUnderWay), loading_alone():
                    for version in self._due():  # another node may have loaded it meanwhile
                        load_installed(self._store, self._engine, version)
        except (DocsIndexError, OSError) as error:
            if self._told != str(error):
                log.warning("docs_engine.not_loaded", reason=str(error))
            self._told = str(error)
        else:
            self._told = ""

    def _due(self) -> list[GitLabVersion]:
        manifests = {
            version: self._store.manifest_of(version) for version in self._store.installed()
        }
        loaded = self._engine.newest_loaded() if any(manifests.values()) else {}
        return [
            version
            for version, manifest in manifests.items()
            if manifest and (version not in loaded or loaded[version] < manifest.created)
        ]


@contextmanager
def loading_alone() -> Iterator[None]:
    """Be the only one of all nodes to load.

    Raises:
        InstallationUnderWay: Another node is loading.
    """
    holder = secrets.token_hex(16)
    if not Lease.objects.take(LEASE, holder, lease_s=_LOADED_WITHIN_S, now=time.time()):
        raise InstallationUnderWay(
            "Another node is loading documentation into the search engine. Try again in a minute."
        )
    try:
        yield
    finally:
        Lease.objects.give_up(LEASE, holder)


def load_installed(
    store: IndexStore, engine: "OpenSearchBackend", version: GitLabVersion
) -> tuple[int, bool]:
    """Let the engine answer for a version from what is installed on this node.

    Returns:
        Its number of sections, and whether they were not there already.

    Raises:
        DocsIndexError: One of its leaves. What the engine searched before, it searches on.
        OSError: The file cannot be read.
    """
    if version not in store.installed():
        raise IndexMissing(f"No index of GitLab {version}'s documentation is installed here.")
    manifest = store.manifest_of(version)
    with closing(DocsIndex(store.path_of(version))) as index:  # of its own: it is read for long
        made_at = manifest.created if manifest else None
        is_new = engine.load(index, store.digest_of(version), made_at)
        section_count = index.facts.section_count
    if is_new:
        log.info("docs_engine.loaded", version=str(version), sections=section_count)
    return section_count, is_new
