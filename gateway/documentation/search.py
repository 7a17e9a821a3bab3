"""The documentation search as requests reach it: in threads of its own, off the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial

from docsearch.backend import SearchBackend
from docsearch.errors import VersionInvalid
from docsearch.index import SEARCH_WITHIN_S
from docsearch.results import Outcome, SearchResult
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
        self._of_callers: dict[GitLabVersion, None] = {}  # the one named last is the last
        self._threads = ThreadPoolExecutor(_THREADS, "docs")

    def hear_of(self, caller_version: str) -> None:
        """Remember the version of an instance that calls, so that its documentation is fetched."""
        version = version_of(caller_version)
        if version is None:
            return
        self._of_callers.pop(version, None)
        self._of_callers[version] = None
        if len(self._of_callers) > _CALLER_VERSIONS:
            del self._of_callers[next(iter(self._of_callers))]

    async def search(self, question: str, *, caller_version: str, limit: int) -> SearchResult:
        """Answer from the documentation of the caller's version, or the nearest that may.

        It ends within `SEARCH_WITHIN_S`, waiting for a thread included.
        """
        self.hear_of(caller_version)
        wanted = self._wanted or version_of(caller_version)
        call = partial(self._search, question, wanted, limit)
        try:
            async with asyncio.timeout(SEARCH_WITHIN_S):
                result = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except TimeoutError:
            return SearchResult(Outcome.STOPPED, "The documentation search is busy. Ask again.")
        if wanted is None and result.searched_version:
            told = "Which GitLab version asks is not known; this is the newest documentation here"
            return replace(result, warning=f"{told}, {result.searched_version}'s.")
        return result

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
