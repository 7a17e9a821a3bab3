"""What answers a question: the indexes on this node, or a search engine the customer runs."""

from typing import Protocol

from docsearch.results import SearchResult
from docsearch.search import (
    DEFAULT_LIMIT,
    DEFAULT_TOKEN_BUDGET,
    MeaningSearch,
    search_docs,
)
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion


class SearchBackend(Protocol):
    """Answers questions; threads may share it.

    Attributes:
        provider: Its name on the wire.
    """

    provider: str

    def search(
        self,
        text: str,
        *,
        wanted_version: GitLabVersion | None = None,
        limit: int = DEFAULT_LIMIT,
        token_budget: int = DEFAULT_TOKEN_BUDGET,
    ) -> SearchResult:
        """Answer a question as `docsearch.search.search_docs` does; never raises."""

    def digests(self) -> dict[GitLabVersion, str]:
        """Return the SHA-256 of the index that is searched for each version, lowest first."""

    def close(self) -> None:
        """Let go of what is open; searches under way end first."""


class LocalBackend:
    """Searches the indexes installed on this node.

    Attributes:
        provider: Its name on the wire.
        meaning: Lets what is meant count too; None: words alone do.
    """

    provider = "sqlite"

    def __init__(self, store: IndexStore, meaning: MeaningSearch | None = None) -> None:
        self._store = store
        self.meaning = meaning

    def search(
        self,
        text: str,
        *,
        wanted_version: GitLabVersion | None = None,
        limit: int = DEFAULT_LIMIT,
        token_budget: int = DEFAULT_TOKEN_BUDGET,
    ) -> SearchResult:
        return search_docs(
            self._store,
            text,
            wanted_version=wanted_version,
            limit=limit,
            token_budget=token_budget,
            meaning=self.meaning,
        )

    def digests(self) -> dict[GitLabVersion, str]:
        return {version: self._store.digest_of(version) for version in self._store.installed()}

    def close(self) -> None:
        self._store.close()
