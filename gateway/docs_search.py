"""The documentation search as requests reach it: in threads of its own, off the event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from docsearch.errors import VersionInvalid
from docsearch.results import SearchResult
from docsearch.search import search_docs
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion

_THREADS = 2


class DocsSearch:
    """Searches the installed documentation for one worker."""

    def __init__(self, store: IndexStore, gitlab_version: str = "") -> None:
        """Search `store`; `gitlab_version` is wanted whatever callers say of themselves."""
        self._store = store
        self._wanted = _version_of(gitlab_version)
        self._threads = ThreadPoolExecutor(_THREADS, "docs")

    async def search(self, question: str, *, caller_version: str, limit: int) -> SearchResult:
        """Answer from the documentation of the caller's version, or the nearest that may."""
        wanted = self._wanted or _version_of(caller_version)
        call = partial(search_docs, self._store, question, wanted_version=wanted, limit=limit)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """Take no more questions; those under way end within their time."""
        self._threads.shutdown()
        self._store.close()


def _version_of(text: str) -> GitLabVersion | None:
    with suppress(VersionInvalid):
        return GitLabVersion.parse(text)
    return None
