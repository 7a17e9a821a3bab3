"""What people's everyday words mean in GitLab's documentation.

The list is `vocabulary.txt`; it is written by hand, from knowledge of the documentation.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from docsearch import cleaning

_FILE = Path(__file__).parent / "vocabulary.txt"

#: Words in a row.
Phrase: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EverydayVocabulary:
    """The list, ready for looking up.

    Attributes:
        meanings: What each phrase may mean, in the order of the list. Phrases are looked up by the
            stems of their words.
        words: Every word that occurs in it: correct English, whatever the documentation says.
        stems: Theirs.
        longest_phrase: Words in the longest phrase.
    """

    meanings: Mapping[Phrase, tuple[Phrase, ...]]
    words: frozenset[str]
    stems: frozenset[str]
    longest_phrase: int


@cache
def everyday_vocabulary() -> EverydayVocabulary:
    """Read the list that is shipped."""
    return read_vocabulary(_FILE.read_text(encoding="utf-8"))


def read_vocabulary(text: str) -> EverydayVocabulary:
    """Read a list; its format is told at its beginning."""
    meanings: dict[Phrase, dict[Phrase, None]] = {}
    words: set[str] = set()
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        words.update(cleaning.words(line))
        for phrase, meaning in _entries(line):
            if phrase != meaning:
                meanings.setdefault(stems_of(phrase), {})[meaning] = None
    return EverydayVocabulary(
        meanings={phrase: tuple(found) for phrase, found in meanings.items()},
        words=frozenset(words),
        stems=frozenset(map(cleaning.stem, words)),
        longest_phrase=max(map(len, meanings), default=1),
    )


def _entries(line: str) -> Iterator[tuple[Phrase, Phrase]]:
    said, is_one_way, meant = line.partition(">")
    separator = "," if is_one_way else "="
    phrases = [_phrase(text) for text in said.split(separator)]
    targets = [_phrase(text) for text in meant.split(",")] if is_one_way else phrases
    return ((phrase, target) for phrase in phrases for target in targets)


def _phrase(text: str) -> Phrase:
    return tuple(cleaning.words(text))


def stems_of(phrase: Iterable[str]) -> Phrase:
    """Return the stems by which a phrase is known."""
    return tuple(cleaning.stem(word) for word in phrase)
