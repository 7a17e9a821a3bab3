"""Searches, and fills, the customer's search engine."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, OpenSearchException, TransportError

from docsearch import cleaning
from docsearch.cleaning import stem
from docsearch.errors import (
    DocsIndexError,
    IndexMissing,
    SearchEngineRefused,
    ServerUnreachable,
)
from docsearch.everyday import everyday_vocabulary
from docsearch.index import DocsIndex
from docsearch.opensearch import wire
from docsearch.query import MAX_QUERY_CHARS, MAX_WORDS, STOP_WORDS, Query, parse_query
from docsearch.results import Outcome, SearchResult
from docsearch.search import (
    DEFAULT_LIMIT,
    DEFAULT_TOKEN_BUDGET,
    MAX_LIMIT,
    every_section,
    outcome_of,
    within,
)
from docsearch.store import choose_version, missing_version
from docsearch.versions import GitLabVersion

#: What is searched for a version changes with a release of GitLab: it need not be asked each time.
_VERSIONS_KNOWN_FOR_S = 10.0
_SECTIONS_A_CALL = 500


class OpenSearchBackend:
    """The documentation in OpenSearch or Elasticsearch."""

    provider = "opensearch"

    def __init__(self, client: OpenSearch, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._known: tuple[float, dict[GitLabVersion, str]] | None = None

    def search(
        self,
        text: str,
        *,
        wanted_version: GitLabVersion | None = None,
        limit: int = DEFAULT_LIMIT,
        token_budget: int = DEFAULT_TOKEN_BUDGET,
    ) -> SearchResult:
        """Answer a question as `docsearch.search.search_docs` does; never raises."""
        try:
            with _told():
                installed = [*self._versions()]
                choice = choose_version(wanted_version, installed)
                if choice is None:
                    raise IndexMissing(missing_version(wanted_version, installed))
                result = self._ask(choice.version, text, limit, token_budget)
        except DocsIndexError as error:
            return SearchResult(Outcome.NO_INDEX, str(error))
        return replace(result, warning=choice.warning)

    def digests(self) -> dict[GitLabVersion, str]:
        """Return the SHA-256 of the index that is searched for each version, lowest first.

        Raises:
            ServerUnreachable: The engine did not answer.
            SearchEngineRefused: It did not do what it was asked for.
        """
        with _told():
            try:
                answer = self._client.indices.get_alias(index=wire.ALL_INDEXES)
            except NotFoundError:
                return {}
            return wire.read_aliases(answer)

    def newest_loaded(self) -> dict[GitLabVersion, datetime]:
        """Return when the newest index that was ever loaded of each version was made.

        It need not be the one that is searched: an operator may have gone back to an older one.

        Raises:
            ServerUnreachable: The engine did not answer.
            SearchEngineRefused: It did not do what it was asked for.
        """
        with _told():
            try:
                answer = self._client.indices.get_mapping(index=wire.ALL_INDEXES)
            except NotFoundError:
                return {}
            return wire.read_newest(answer)

    def load(self, index: DocsIndex, sha256: str, made_at: datetime | None) -> bool:
        """Put an index that was verified into the engine, and let its version be answered from it.

        What is searched until then answers on, and stays beside it; older ones are deleted. What a
        kill left unfinished is done anew. Nobody else may load at the same time.

        Args:
            index: Of a version.
            sha256: Of its file.
            made_at: When it was signed; None where its manifest is missing.

        Returns:
            Whether it was not there already.

        Raises:
            ServerUnreachable: The engine did not answer.
            SearchEngineRefused: It did not do what it was asked for.
            IndexUnusable: The index is damaged.
        """
        version = index.facts.gitlab_version
        name = wire.index_name(version, sha256)
        before = self.digests().get(version)
        if before == sha256:
            self._mark_whole(name, made_at)  # one that an earlier release loaded has no mark
            return False
        kept = {name, wire.index_name(version, before)} if before else {name}
        with _told():
            self._client.indices.delete(index=name, ignore_unavailable=True)
            self._client.indices.create(index=name, body=dict(wire.INDEX_BODY))
            lines = wire.bulk_lines(every_section(index))
            while batch := [*islice(lines, 2 * _SECTIONS_A_CALL)]:
                answer = self._client.bulk(index=name, body=batch)
                if answer["errors"]:
                    raise SearchEngineRefused(
                        f"The search engine did not take every section of GitLab {version}'s "
                        "documentation; what was searched before is. See its own log."
                    )
            self._client.indices.refresh(index=name)
            self._mark_whole(name, made_at)
            self._client.indices.update_aliases(body=wire.swap_aliases(version, name))
            builds = self._client.indices.get_alias(index=wire.builds_of(version))
            if older := wire.read_older(builds, kept):
                self._client.indices.delete(index=",".join(older), ignore_unavailable=True)
        self._known = None
        return True

    def _mark_whole(self, name: str, made_at: datetime | None) -> None:
        if made_at:
            with _told():
                self._client.indices.put_mapping(index=name, body=wire.whole_mark(made_at))

    def close(self) -> None:
        """Nothing is kept open here: the connections are those of whoever fetches."""

    def _versions(self) -> dict[GitLabVersion, str]:
        now = self._clock()
        if self._known is None or now - self._known[0] > _VERSIONS_KNOWN_FOR_S:
            self._known = (now, self.digests())
        return self._known[1]

    def _ask(
        self, version: GitLabVersion, text: str, limit: int, token_budget: int
    ) -> SearchResult:
        alias = wire.alias_of(version)
        query = self._parse(alias, text)
        if not query.notions:
            return outcome_of(version, query, (), ())
        answer = self._client.search(
            index=alias, body=wire.search_body(query, max(1, min(limit, MAX_LIMIT)))
        )
        if answer["timed_out"]:
            return SearchResult(
                Outcome.STOPPED,
                "The search engine took too long. Ask in fewer words.",
                searched_version=version,
            )
        passages = tuple(within(token_budget, wire.read_passages(answer)))
        return outcome_of(version, query, passages, wire.unknown_notions(answer, query))

    def _parse(self, alias: str, text: str) -> Query:
        vocabulary = everyday_vocabulary()
        said = cleaning.words(text[:MAX_QUERY_CHARS])[:MAX_WORDS]
        asked = [
            word for word in said if word not in STOP_WORDS and stem(word) not in vocabulary.stems
        ]
        repaired: dict[str, str] = {}
        if asked:
            answer = self._client.search(index=alias, body=wire.suggest_body(asked))
            repaired = wire.read_suggestions(answer)
        return parse_query(
            text, vocabulary=vocabulary, repair=lambda word: repaired.get(word, word)
        )


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the client raises, and an answer of another form, into our errors."""
    try:
        yield
    except TransportError as error:
        if isinstance(error.status_code, int):
            raise SearchEngineRefused(_refusal(error.status_code)) from error
        cause: Any = error.info
        while cause is not None and not isinstance(cause, DocsIndexError):
            cause = cause.__cause__ or cause.__context__
        raise cause or ServerUnreachable("The search engine cannot be reached.") from error
    except (OpenSearchException, LookupError, TypeError, ValueError, AttributeError) as error:
        raise SearchEngineRefused(
            "The search engine did not answer as OpenSearch does. Check that DOCS_SEARCH_URL is "
            "its own URL."
        ) from error


def _refusal(status: int) -> str:
    advice = {
        401: "set DOCS_SEARCH_TOKEN to what it accepts",
        403: "let DOCS_SEARCH_TOKEN read and write the indexes gitlab-docs-*",
        404: "load the documentation with load_docs_index",
        413: "raise http.max_content_length there",
        429: "it is overloaded; try again in a minute",
    }.get(status, "see its own log")
    if 300 <= status < 400:
        advice = "a redirect is never followed: write the final URL into DOCS_SEARCH_URL"
    return f"The search engine answered {status}: {advice}."
