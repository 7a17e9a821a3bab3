"""What is sent to the search engine, and how its answers are read. Pure.

Words are cleaned and stemmed here, by the module that cleans those of the SQLite index, and the
engine only splits at blanks: a question means the same to both.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from docsearch import cleaning
from docsearch.everyday import stems_of
from docsearch.query import Notion, Query, Term
from docsearch.results import Passage
from docsearch.versions import GitLabVersion

_ALIAS = "gitlab-docs-"
_INDEX = re.compile(r"gitlab-docs-(\d+\.\d+\.\d+)-([0-9a-f]{64})")

#: How much a word counts by where it stands; as in `docsearch.ranking`.
_FIELDS = ("title^0.9", "heading^0.85", "above^0.5", "body")
_PAIR_BOOST = 0.12
#: Of a search within the engine, so that it gives up before we do.
_SEARCH_WITHIN = "400ms"

_STEMMED = {"type": "text", "analyzer": "whitespace"}

INDEX_BODY: Mapping[str, Any] = {
    "settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1"},
    "mappings": {
        "dynamic": "strict",
        "_meta": {"cleaning_version": cleaning.VERSION},
        "properties": {
            **dict.fromkeys(("title", "heading", "above", "body"), _STEMMED),
            "spelling": {"type": "text", "analyzer": "whitespace", "norms": False},
            "page": {"type": "keyword"},
            "passage": {"type": "object", "enabled": False},
        },
    },
}


def alias_of(version: GitLabVersion) -> str:
    """Return the name that is searched for a version."""
    return f"{_ALIAS}{version}"


def index_name(version: GitLabVersion, sha256: str) -> str:
    """Return the name of the index that holds one build of a version's documentation."""
    return f"{alias_of(version)}-{sha256}"


ALL_INDEXES = f"{_ALIAS}*"


def builds_of(version: GitLabVersion) -> str:
    """Return the pattern of all indexes of a version, searched or not."""
    return f"{alias_of(version)}-*"


def whole_mark(made_at: datetime) -> dict[str, Any]:
    """Return what is written into an index last: an index without it was not loaded whole."""
    return {"_meta": {**INDEX_BODY["mappings"]["_meta"], "made_at": made_at.isoformat()}}


def read_newest(answer: Mapping[str, Any]) -> dict[GitLabVersion, datetime]:
    """Return when the newest whole index of each version was made, whether it is searched or not.

    One whose words were cleaned by other rules is none.
    """
    newest: dict[GitLabVersion, datetime] = {}
    for name, entry in answer.items():
        match, mark = _INDEX.fullmatch(name), entry["mappings"].get("_meta", {})
        if not match or "made_at" not in mark or mark["cleaning_version"] != cleaning.VERSION:
            continue
        version, made_at = GitLabVersion.parse(match[1]), datetime.fromisoformat(mark["made_at"])
        newest[version] = max(made_at, newest.get(version, made_at))
    return newest


def read_older(answer: Mapping[str, Any], kept: Collection[str]) -> list[str]:
    """Return the indexes in an answer that are ours and not to be kept."""
    return [name for name in answer if _INDEX.fullmatch(name) and name not in kept]


def read_aliases(answer: Mapping[str, Any]) -> dict[GitLabVersion, str]:
    """Return the SHA-256 of what is searched for each version, lowest first."""
    found = {}
    for name, entry in answer.items():
        aliases, match = entry["aliases"], _INDEX.fullmatch(name)
        if match and alias_of(version := GitLabVersion.parse(match[1])) in aliases:
            found[version] = match[2]
    return dict(sorted(found.items()))


def swap_aliases(version: GitLabVersion, name: str) -> dict[str, Any]:
    """Return what lets a version's alias name this index and no other, in one step."""
    alias = alias_of(version)
    return {
        "actions": [
            {"remove": {"index": builds_of(version), "alias": alias, "must_exist": False}},
            {"add": {"index": name, "alias": alias}},
        ]
    }


def bulk_lines(passages: Iterable[tuple[Passage, str]]) -> Iterator[dict[str, Any]]:
    """Yield the lines that index sections: each as the passage it is told as, and its own text."""
    for number, (passage, own_text) in enumerate(passages, start=1):
        title = _words(passage.title)
        heading, above = _words("".join(passage.trail[-1:])), _words("\n".join(passage.trail[:-1]))
        body = _words(own_text)
        yield {"index": {"_id": str(number)}}
        yield {
            "title": _stemmed(title),
            "heading": _stemmed(heading),
            "above": _stemmed(above),
            "body": _stemmed(body),
            "spelling": " ".join(
                sorted({word for word in (*title, *heading, *body) if word.isalpha()})
            ),
            "page": passage.path,
            "passage": {
                "path": passage.path,
                "path_below_root": passage.path_below_root,
                "title": passage.title,
                "trail": [*passage.trail],
                "anchor": passage.anchor,
                "url": passage.url,
                "content": passage.content,
                "token_count": passage.token_count,
            },
        }


def suggest_body(words: Sequence[str]) -> dict[str, Any]:
    """Return what asks for the nearest words of the documentation to those it does not have."""
    return {
        "size": 0,
        "timeout": _SEARCH_WITHIN,
        "suggest": {
            "text": " ".join(words),
            "repaired": {
                "term": {
                    "field": "spelling",
                    "suggest_mode": "missing",
                    "sort": "score",
                    "size": 1,
                    "max_edits": 2,
                    "prefix_length": 1,
                    "min_word_length": 4,
                }
            },
        },
    }


def read_suggestions(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return what is meant by each misspelt word."""
    return {
        entry["text"]: entry["options"][0]["text"]
        for entry in answer["suggest"]["repaired"]
        if entry["options"]
    }


def search_body(query: Query, limit: int) -> dict[str, Any]:
    """Return what asks for a page's best section each, and how many sections have each notion."""
    notions = [_any_of(notion) for notion in query.notions]
    pairs = [
        {"match_phrase": {"body": {"query": _stemmed(pair), "boost": _PAIR_BOOST}}}
        for pair in query.pairs
    ]
    return {
        "size": limit,
        "timeout": _SEARCH_WITHIN,
        "track_total_hits": False,
        "_source": ["passage"],
        "query": {
            "bool": {
                "must": [{"bool": {"should": notions, "minimum_should_match": 1}}],
                "should": pairs,
            }
        },
        "collapse": {"field": "page"},
        "aggs": {str(at): {"filter": notion} for at, notion in enumerate(notions)},
    }


def read_passages(answer: Mapping[str, Any]) -> Iterator[Passage]:
    """Yield the passages of an answer, best first."""
    for hit in answer["hits"]["hits"]:
        fields = hit["_source"]["passage"]
        yield Passage(**{**fields, "trail": tuple(fields["trail"])}, score=float(hit["_score"]))


def unknown_notions(answer: Mapping[str, Any], query: Query) -> list[str]:
    """Return what was asked for and stands in no section, in no form or meaning."""
    counts = answer["aggregations"]
    return [
        " ".join(notion[0].words)
        for at, notion in enumerate(query.notions)
        if notion[0].weight == 1 and not counts[str(at)]["doc_count"]
    ]


def _any_of(notion: Notion) -> dict[str, Any]:
    terms = [_term(term) for term in notion]
    return terms[0] if len(terms) == 1 else {"dis_max": {"queries": terms}}


def _term(term: Term) -> dict[str, Any]:
    kind = (
        {"type": "phrase"} if len(term.words) > 1 else {"type": "best_fields", "tie_breaker": 0.3}
    )
    fields = {"query": _stemmed(term.words), "fields": [*_FIELDS], "boost": term.weight}
    return {"multi_match": {**fields, **kind}}


def _words(markdown: str) -> list[str]:
    return cleaning.words(cleaning.plain_text(markdown))


def _stemmed(words: Iterable[str]) -> str:
    return " ".join(stems_of(words))
