"""Which section of which page answers a query best.

FTS5 tells in which fields of which sections a term stands; the score is made here, so that title,
headings and body, what was said and what may be meant, section and page can each have their
weight. It follows BM25F: a term counts the more, the fewer sections have it, and the less, the
longer the text it stands in; counting saturates. How often a term stands in one section is not
looked at; in how many sections of a page it stands, is.

Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
"""

import re
import sqlite3
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import accumulate, chain
from math import log

from docsearch.query import Notion, Query, Term
from docsearch.schema import FIELD_STRIDE, Field

# How much a term counts by where it stands, 0 to 1.
_IN_TITLE = 0.89
_IN_HEADING = 0.85
_IN_HEADINGS_ABOVE = 0.5
# In a body of average length it counts _BODY / (_SECTION_SATURATION + _BODY).
_BODY = 1.0
_SECTION_SATURATION = 1.2
_BODY_LENGTH_SHARE = 0.5
# On a page the sections that have it are counted; the title counts as this many.
_PAGE_TITLE = 10
_PAGE_SATURATION = 2.0
_PAGE_LENGTH_SHARE = 0.6
#: How much a page's own score adds to that of its best section.
_PAGE_SHARE = 0.5
#: How much two words count that stand next to each other as they were said.
_PAIR_SHARE = 0.12
#: A section of the same meaning counts as much as all words that were asked for; but by this share
#: of `match` less, since what words alone answer well needs no help.
_WORDS_TELL = 0.5
#: A term in more sections than this share tells nothing; "gitlab" is one.
_MOST_SECTIONS = 0.4
#: In a small index every word is in many sections; so many rows are always looked at.
_ALWAYS_READ = 1000
#: So that a search costs about the same, however much documentation there is.
_ROWS_READ = 10_000
_PAGES_LOOKED_INTO = 150

# Pages few users ask for, but full of their words: for developers of GitLab, of trainings, about
# the upgrade from one old release to the next; the API's, unless asked for.
_ASIDE = re.compile(r"(?:^|/)(?:development|university|articles|update|release)/")
_ASIDE_FACTOR = 0.85
_API = re.compile(r"(?:^|/)api/")
_API_FACTOR = 0.95


@dataclass(frozen=True, slots=True)
class Hit:
    """A page, by its best section."""

    page_id: int
    section_id: int
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a query found.

    Attributes:
        hits: Best first.
        match: How well the best one fits by its words; about 1 when it has all that is asked for
            in its title. Unlike scores it can be compared between queries and indexes.
        unknown: What was asked for and stands nowhere, in no form or meaning.
    """

    hits: tuple[Hit, ...] = ()
    match: float = 0.0
    unknown: tuple[str, ...] = ()


class Layout:
    """How an index's sections lie, and what depends on nothing else: read once, for every search.

    Attributes:
        section_count: Of all pages.
        page_of: The page of each section, by section id.
        sections_of: The ids of each page's sections, by page id.
        in_body: What a term counts that stands in the body of a section, by section id.
        page_saturation: The count of sections at which a term counts half, by page id.
        priors: What a page's score is multiplied by, in a question about the API and in others.
        page_counts: The number of pages that have a word, by word.
        telling_rows: A term in so many rows or more tells nothing.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        sections = connection.execute(
            "SELECT page_id, word_count FROM sections ORDER BY id"
        ).fetchall()
        paths = [path for (path,) in connection.execute("SELECT path FROM pages ORDER BY id")]
        self.section_count = len(sections)
        self.page_of = array("I", [0, *(page_id for page_id, _ in sections)])
        counts = Counter(page_id for page_id, _ in sections)
        ends = [*accumulate(counts[page_id] for page_id in range(len(paths) + 1))]
        self.sections_of = [
            range(end + 1 - counts[page_id], end + 1) for page_id, end in enumerate(ends)
        ]
        mean_words = sum(count for _, count in sections) / max(1, len(sections)) or 1.0
        self.in_body = array(
            "f",
            [0.0, *(_in_section(_body_count(words / mean_words)) for _, words in sections)],
        )
        mean_sections = len(sections) / max(1, len(paths))
        self.page_saturation = array(
            "f", (_page_saturation(len(ids) / mean_sections) for ids in self.sections_of)
        )
        self.priors = [(1.0, 1.0), *map(_priors, paths)]
        self.page_counts: dict[str, int] = dict(
            connection.execute("SELECT word, page_count FROM vocabulary")
        )
        self.telling_rows = int(_MOST_SECTIONS * self.section_count) + _ALWAYS_READ


def _in_section(count: float) -> float:
    return count / (_SECTION_SATURATION + count)


def _body_count(relative_length: float) -> float:
    return _BODY / (1 - _BODY_LENGTH_SHARE + _BODY_LENGTH_SHARE * relative_length)


def _page_saturation(relative_length: float) -> float:
    return _PAGE_SATURATION * (1 - _PAGE_LENGTH_SHARE + _PAGE_LENGTH_SHARE * relative_length)


def _priors(path: str) -> tuple[float, float]:
    factor = _ASIDE_FACTOR if _ASIDE.search(path) else 1.0
    return factor, factor * (_API_FACTOR if _API.search(path) else 1.0)


def rank(
    connection: sqlite3.Connection,
    layout: Layout,
    query: Query,
    limit: int,
    nearness: dict[int, float] | None = None,
) -> Ranking:
    """Return the pages that answer a query best, best first, at most `limit`.

    Args:
        connection: To the index.
        layout: Of its sections.
        query: What is asked for.
        limit: Most pages wanted.
        nearness: How near sections are to the query in meaning, 0 to 1, by section id. It adds
            pages, and changes their order; where no page has any of the words, there is none.
    """
    ranking = _Search(connection, layout, most_rows=layout.telling_rows).run(query, limit, nearness)
    if ranking.hits:
        return ranking
    # Only words that tell nothing, such as "gitlab": better some page than none.
    return _Search(connection, layout, most_rows=_ROWS_READ).run(query, limit, nearness)


def is_used(connection: sqlite3.Connection, word: str) -> bool:
    """Return whether the documentation has `word`, in any of its forms."""
    return bool(_rows_with(connection, (word,), 1))


@dataclass(frozen=True, slots=True)
class _Found:
    """Where something was found, and what it counts there: 0 to 1, to be weighted."""

    weight: float = 0.0
    sections: dict[int, float] = field(default_factory=dict)
    pages: dict[int, float] = field(default_factory=dict)


class _Search:
    """One pass over the index, within a number of rows read: rare words first, they tell most."""

    def __init__(self, connection: sqlite3.Connection, layout: Layout, *, most_rows: int) -> None:
        self._connection = connection
        self._layout = layout
        self._most_rows = most_rows
        self._rows_left = _ROWS_READ
        self._sections = [0.0] * len(layout.page_of)
        self._pages = [0.0] * len(layout.priors)

    def run(self, query: Query, limit: int, nearness: dict[int, float] | None) -> Ranking:
        notions = sorted(query.notions, key=self._commonness)
        asked_weight = 0.0
        unknown = []
        for notion in notions:
            found = self._find_notion(notion)
            asked_weight += found.weight
            self._count(found)
            if notion[0].weight == 1 and found.weight and not found.pages:
                unknown.append(" ".join(notion[0].words))
        for pair in query.pairs:
            self._count_pair(pair)
        is_about_api = any(("api",) in (term.words for term in notion) for notion in notions)
        hits = self._best_pages(limit, is_about_api=is_about_api)
        match = hits[0].score / asked_weight if hits else 0.0
        if hits and nearness:
            weight = asked_weight * max(0.0, 1 - _WORDS_TELL * match)
            near = self._count_nearness(nearness, weight)
            hits = self._best_pages(limit, is_about_api=is_about_api, further=near)
        return Ranking(hits, match, tuple(unknown))

    def _commonness(self, notion: Notion) -> int:
        page_counts = self._layout.page_counts
        return max(min(page_counts.get(word, 0) for word in term.words) for term in notion)

    def _find_notion(self, notion: Notion) -> _Found:
        """Find any term of a notion; each section and page has the score of its best term."""
        found = [self._find_term(term) for term in notion]
        if len(found) == 1:
            return found[0]
        weight = max(term.weight for term in found)
        sections: dict[int, float] = {}
        pages: dict[int, float] = {}
        for term in found:
            if term.weight:
                _raise_all(sections, term.sections, term.weight / weight)
                _raise_all(pages, term.pages, term.weight / weight)
        return _Found(weight, sections, pages)

    def _find_term(self, term: Term) -> _Found:
        """Find a term; one that stands in too many sections counts nothing."""
        layout = self._layout
        most_rows = min(self._most_rows, self._rows_left)
        rows = _rows_with(self._connection, term.words, most_rows)
        if len(rows) == most_rows:
            return _Found()
        self._rows_left -= len(rows)
        bodies, headings, above, titles = _by_field(rows)
        sections = dict(zip(bodies, map(layout.in_body.__getitem__, bodies), strict=True))
        for section_ids, score in ((headings, _IN_HEADING), (above, _IN_HEADINGS_ABOVE)):
            for section_id in section_ids:
                _raise(sections, section_id, score)
        weight = term.weight * _rarity(len(sections) + len(titles), layout)
        counts = Counter(map(layout.page_of.__getitem__, sections))
        for section_id in titles:
            page_id = layout.page_of[section_id]
            counts[page_id] += _PAGE_TITLE
            for titled_id in layout.sections_of[page_id]:
                _raise(sections, titled_id, _IN_TITLE)
        saturation = layout.page_saturation
        pages = {page: count / (count + saturation[page]) for page, count in counts.items()}
        return _Found(weight, sections, pages)

    def _count(self, found: _Found) -> None:
        for totals, scores in ((self._sections, found.sections), (self._pages, found.pages)):
            for key, score in scores.items():
                totals[key] += found.weight * score

    def _count_pair(self, pair: tuple[str, ...]) -> None:
        rows = _rows_with(self._connection, pair, self._rows_left)
        self._rows_left -= len(rows)
        section_ids = {row % FIELD_STRIDE for row in rows}
        score = _PAIR_SHARE * _rarity(len(section_ids), self._layout)
        for section_id in section_ids:
            self._sections[section_id] += score

    def _count_nearness(self, nearness: dict[int, float], weight: float) -> set[int]:
        """Let nearness count in sections, and return the pages of the nearest."""
        for section_id, near in nearness.items():
            self._sections[section_id] += weight * near
        nearest = nlargest(_PAGES_LOOKED_INTO, nearness, key=nearness.__getitem__)
        return {self._layout.page_of[section_id] for section_id in nearest}

    def _best_pages(
        self, limit: int, *, is_about_api: bool, further: Iterable[int] = ()
    ) -> tuple[Hit, ...]:
        """Return the best of the likeliest by their words, and of `further` pages."""
        layout, sections, pages = self._layout, self._sections, self._pages
        likely = nlargest(_PAGES_LOOKED_INTO, range(len(pages)), key=pages.__getitem__)
        hits = []
        for page_id in {*filter(pages.__getitem__, likely), *further}:
            ids = layout.sections_of[page_id]
            section_id = max(ids, key=sections.__getitem__)
            score = sections[section_id] + _PAGE_SHARE * pages[page_id]
            hits.append(Hit(page_id, section_id, layout.priors[page_id][not is_about_api] * score))
        return tuple(sorted(hits, key=lambda hit: (-hit.score, hit.page_id))[:limit])


def _raise_all(best: dict[int, float], scores: dict[int, float], share: float) -> None:
    get = best.get
    for key, score in scores.items():
        if score * share > get(key, 0.0):
            best[key] = score * share


def _raise(scores: dict[int, float], key: int, score: float) -> None:
    """Let a score count beside what there is; together they stay below 1."""
    there = scores.get(key, 0.0)
    scores[key] = there + score - there * score


def _by_field(rows: list[int]) -> list[list[int]]:
    """Return the sections of each field; `rows` are in order, so those of a field are together."""
    begins = [bisect_left(rows, place * FIELD_STRIDE) for place in Field] + [len(rows)]
    return [
        [row - place * FIELD_STRIDE for row in rows[begins[place] : begins[place + 1]]]
        for place in Field
    ]


def _rows_with(connection: sqlite3.Connection, words: tuple[str, ...], most: int) -> list[int]:
    """Return where `words` stand in a row; a quoted phrase holds no operator of FTS5."""
    phrase = f'"{" ".join(words)}"'
    statement = "SELECT rowid FROM words WHERE words MATCH ? LIMIT ?"
    return [*chain.from_iterable(connection.execute(statement, (phrase, most)))]


def _rarity(sections: int, layout: Layout) -> float:
    return log(1 + (layout.section_count - sections + 0.5) / (sections + 0.5))
