"""The documentation search as requests reach it: in threads of its own, off the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from docsearch.backend import SearchBackend
from docsearch.errors import VersionInvalid
from docsearch.results import SearchResult
from docsearch.versions import GitLabVersion

_THREADS = 2
#: Callers' versions that are remembered: several instances may share a gateway.
_CALLER_VERSIONS = 4


def _unnoted(_question: str, _result: SearchResult) -> None:
    pass


class DocsSearch:
    """Searches the documentation for one worker.

    Attributes:
        backend: Answers the questions.
    """

    def __init__(
        self,
        backend: SearchBackend,
        gitlab_version: str = "",
        note: Callable[[str, SearchResult], None] = _unnoted,
    ) -> None:
        """Search `backend`.

        Args:
            backend: Answers the questions.
            gitlab_version: Wanted whatever callers say of themselves.
            note: Told each question with its answer, in a thread.
        """
        self.backend = backend
        self._note = note
        self._wanted = version_of(gitlab_version)
        self._of_callers: deque[GitLabVersion] = deque(maxlen=_CALLER_VERSIONS)
        self._threads = ThreadPoolExecutor(_THREADS, "docs")

    async def search(self, question: str, *, caller_version: str, limit: int) -> SearchResult:
        """Answer from the documentation of the caller's version, or the nearest that may."""
        wanted = self._wanted or version_of(caller_version)
        if wanted and not self._wanted and wanted not in self._of_callers:
            self._of_callers.append(wanted)
        call = partial(self._search, question, wanted, limit)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _search(self, question: str, wanted: GitLabVersion | None, limit: int) -> SearchResult:
        """Runs in a thread."""
        result = self.backend.search(question, wanted_version=wanted, limit=limit)
        self._note(question, result)
        return result

    def wanted_versions(self) -> list[GitLabVersion | None]:
        """Return the versions to have documentation of; None stands for the newest there is."""
        return [self._wanted] if self._wanted else list(self._of_callers) or [None]

    def close(self) -> None:
        """Take no more questions; those under way end within their time."""
        self._threads.shutdown()
        self.backend.close()


def version_of(text: str) -> GitLabVersion | None:
    """Return a version somebody wrote; None if it is none."""
    with suppress(VersionInvalid):
        return GitLabVersion.parse(text)
    return None
