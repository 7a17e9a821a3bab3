"""One question to one index: the whole way from text to passages."""

import re
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol
from urllib.parse import quote

from docsearch.cleaning import stem
from docsearch.errors import IndexMissing, IndexUnusable, SearchStopped
from docsearch.everyday import everyday_vocabulary
from docsearch.index import SEARCH_WITHIN_S, DocsIndex, IndexFacts
from docsearch.query import Query, parse_query
from docsearch.ranking import Hit, is_used, rank
from docsearch.results import (
    TOKENS_PER_WORD,
    Outcome,
    Passage,
    SearchResult,
    count_tokens,
)
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion

MAX_LIMIT = 30
DEFAULT_LIMIT = 4
#: Source: the contract of GitLab's own search.
DEFAULT_TOKEN_BUDGET = 8000
#: An answer this good needs no look at newer documentation; an answer this much better is another.
_SURE_MATCH = 0.9
_BETTER_MATCH = 0.2
#: A section this short is told with the subsections that follow it.
_PASSAGE_CHARS = 2000
#: A longer section is cut: small models have little room, and the answer is rarely at its end.
MAX_PASSAGE_TOKENS = 1000
_WHOLE_INDEX_WITHIN_S = 600.0
#: A page of Markdown is never larger (`docsearch.source`); an index may claim otherwise.
_MAX_PAGE_BYTES = 8 * 1024 * 1024


class MeaningSearch(Protocol):
    """Finds sections by what they mean; an extra, `docsearch.hybrid`. Threads may share it."""

    def obstacle(self, facts: IndexFacts) -> str:
        """Return why an index can be searched by words only; "" if it need not be."""

    def nearness(
        self, index: DocsIndex, connection: sqlite3.Connection, text: str
    ) -> dict[int, float]:
        """Return the sections nearest to a text in meaning, and how near: up to 1, by their ids."""


def search_docs(
    store: IndexStore,
    text: str,
    *,
    wanted_version: GitLabVersion | None = None,
    limit: int = DEFAULT_LIMIT,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    meaning: MeaningSearch | None = None,
) -> SearchResult:
    """Answer a question from the documentation that fits a GitLab version.

    It never raises for a question, an index that is missing or one that is damaged: the result says
    what is wrong.

    Args:
        store: The installed indexes.
        text: The question; anything at all.
        wanted_version: The instance's; None for the newest installed.
        limit: Most passages wanted, 1 to 30; each is of another page.
        token_budget: The passages together stay within it; the best one is cut to fit, if need be.
        meaning: Finds passages by what they mean too; None: by words only.
    """
    stop_at = time.monotonic() + SEARCH_WITHIN_S
    try:
        index, choice = store.open(wanted_version)
        result = search_index(index, text, limit=limit, token_budget=token_budget, meaning=meaning)
    except (IndexMissing, IndexUnusable) as error:
        return SearchResult(Outcome.NO_INDEX, str(error))
    if result.outcome is not Outcome.STOPPED and result.match < _SURE_MATCH:
        left_s = max(0.0, stop_at - time.monotonic())
        result = _unless_newer_documents_it(store, text, result, choice.version, left_s)
    obstacle = meaning.obstacle(index.facts) if meaning else ""
    return replace(result, warning=" ".join(filter(None, (choice.warning, obstacle))))


def _unless_newer_documents_it(
    store: IndexStore, text: str, result: SearchResult, searched: GitLabVersion, within_s: float
) -> SearchResult:
    """Say so if the newest installed documentation, asked in time, answers far better."""
    try:
        newest, choice = store.open(None)
        if choice.version <= searched:
            return result
        newer = search_index(newest, text, limit=1, within_s=within_s)
    except (IndexMissing, IndexUnusable):
        return result
    if newer.match < result.match + _BETTER_MATCH:
        return result
    reason = f"GitLab {searched} does not seem to have it; {choice.version} documents it."
    return replace(result, outcome=Outcome.NOT_DOCUMENTED, reason=reason)


def search_index(
    index: DocsIndex,
    text: str,
    *,
    limit: int = DEFAULT_LIMIT,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    within_s: float = SEARCH_WITHIN_S,
    meaning: MeaningSearch | None = None,
) -> SearchResult:
    """Answer a question from an index.

    By words alone it is told what the documentation has; passages near in meaning only add to them.

    Args:
        index: Of one GitLab version.
        text: The question; FTS5 operators in it are words.
        limit: As of `search_docs`.
        token_budget: As of `search_docs`.
        within_s: Time for it, waiting for its turn included.
        meaning: As of `search_docs`; not asked of an index that it cannot search.

    Raises:
        IndexUnusable: The index is damaged.
    """
    version = index.facts.gitlab_version
    try:
        with index.reading(within_s=within_s) as connection:
            query = _parse(connection, index, text)
            nearness = None
            if meaning and query.notions and not meaning.obstacle(index.facts):
                nearness = meaning.nearness(index, connection, query.text)
            most = max(1, min(limit, MAX_LIMIT))
            ranking = rank(connection, index.layout, query, most, nearness)
            found = _passages(connection, index.facts, ranking.hits)
            passages = tuple(within(token_budget, found))
    except SearchStopped as error:
        return SearchResult(Outcome.STOPPED, str(error), searched_version=version)
    return replace(outcome_of(version, query, passages, ranking.unknown), match=ranking.match)


def outcome_of(
    version: GitLabVersion, query: Query, passages: tuple[Passage, ...], unknown: Iterable[str]
) -> SearchResult:
    """Return the answer to a question: its passages, or why there are none.

    Args:
        version: Of the documentation that was searched.
        query: What was asked.
        passages: What was found.
        unknown: What was asked for and stands nowhere.
    """
    if not query.notions:
        return SearchResult(
            Outcome.NOTHING_FOUND,
            "There is no word to search for. Ask in words.",
            searched_version=version,
        )
    if not passages:
        return SearchResult(
            Outcome.NOTHING_FOUND,
            f"No page of GitLab {version}'s documentation has any of these words. Ask in others.",
            searched_version=version,
        )
    outcome, reason = Outcome.FOUND, ""
    said_otherwise = everyday_vocabulary().meanings
    if named := ", ".join(word for word in unknown if (stem(word),) not in said_otherwise):
        outcome = Outcome.NOT_DOCUMENTED
        reason = f"GitLab {version}'s documentation has nothing of: {named}. These are nearest."
    return SearchResult(
        outcome, reason, passages, searched_version=version, shown_query=query.shown
    )


def _parse(connection: sqlite3.Connection, index: DocsIndex, text: str) -> Query:
    vocabulary = everyday_vocabulary()

    def repair(word: str) -> str:
        is_correct = stem(word) in vocabulary.stems or is_used(connection, word)
        return word if is_correct else index.speller.repair(word)

    return parse_query(text, vocabulary=vocabulary, repair=repair)


def within(token_budget: int, passages: Iterator[Passage]) -> Iterator[Passage]:
    """Yield what fits; of the first, at least its beginning, and be it one word."""
    left = token_budget
    for at, passage in enumerate(passages):
        if passage.token_count > left:
            if at == 0:
                yield _cut(passage, left)
            return
        left -= passage.token_count
        yield passage


def _passages(
    connection: sqlite3.Connection, facts: IndexFacts, hits: Iterable[Hit]
) -> Iterator[Passage]:
    for hit in hits:
        row = connection.execute(
            "SELECT trail, anchor, level, begins, ends FROM sections WHERE id = ?",
            (hit.section_id,),
        ).fetchone()
        trail, anchor, level, begins, ends = row
        path, title, packed = connection.execute(
            "SELECT path, title, content FROM pages WHERE id = ?", (hit.page_id,)
        ).fetchone()
        following = connection.execute(
            "SELECT page_id, level, ends FROM sections WHERE id > ? ORDER BY id", (hit.section_id,)
        )
        for next_page_id, next_level, next_ends in following:
            is_part = next_page_id == hit.page_id and next_level > level
            if not is_part or next_ends - begins > _PASSAGE_CHARS:
                break
            ends = next_ends
        content = _unpack(packed)[begins:ends].strip()
        passage = Passage(
            path=path,
            path_below_root=path.removeprefix(facts.docs_root),
            title=title,
            trail=tuple(trail.split("\n")) if trail else (),
            anchor=anchor,
            url=_url(facts, path, anchor),
            content=content,
            score=hit.score,
            token_count=count_tokens(content),
        )
        yield _cut(passage, MAX_PASSAGE_TOKENS)


def every_section(index: DocsIndex) -> Iterator[tuple[Passage, str]]:
    """Yield every section as the passage a search would tell, and its own text.

    Raises:
        IndexUnusable: The index is damaged.
    """
    with index.reading(within_s=_WHOLE_INDEX_WITHIN_S) as connection:
        rows = connection.execute("SELECT id, page_id, begins, ends FROM sections ORDER BY id")
        for section_id, page_id, begins, ends in rows.fetchall():
            (packed,) = connection.execute(
                "SELECT content FROM pages WHERE id = ?", (page_id,)
            ).fetchone()
            hit = Hit(page_id, section_id, 0.0)
            for passage in _passages(connection, index.facts, [hit]):
                yield passage, _unpack(packed)[begins:ends]


def _unpack(packed: bytes) -> str:
    unpacking = zlib.decompressobj()
    page = unpacking.decompress(packed, _MAX_PAGE_BYTES)
    if unpacking.unconsumed_tail:
        raise zlib.error("more than a page")
    return page.decode()


def _url(facts: IndexFacts, path: str, anchor: str) -> str:
    below_root = quote(path.removeprefix(facts.docs_root))
    return f"{facts.url_base}{below_root}{f'#{quote(anchor)}' if anchor else ''}"


def _cut(passage: Passage, tokens: int) -> Passage:
    """Return the passage, or as much of its beginning as fits, in whole words."""
    if passage.token_count <= tokens:
        return passage
    ends = 0
    for count, word in enumerate(re.finditer(r"\S+", passage.content), start=1):
        if int(count * TOKENS_PER_WORD) > tokens and ends:
            break
        ends = word.end()
    content = passage.content[:ends]
    return replace(passage, content=content, token_count=count_tokens(content))
