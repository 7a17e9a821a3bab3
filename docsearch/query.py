"""A question as the index is asked it: its words, repaired, and what else they may mean."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from docsearch import cleaning
from docsearch.everyday import EverydayVocabulary, Phrase, stems_of

#: What follows is left out: a question is at the beginning, a pasted log after it.
MAX_QUERY_CHARS = 4000
MAX_WORDS = 32

#: How much a word that may be meant counts, beside the one that was said.
MEANING_WEIGHT = 0.6

#: Words that say how something is asked, not what.
STOP_WORDS = frozenset(
    word
    for line in (
        "a an and are as at be been but by can could do does for from had has have how i if in",
        "into is it its me my no not of on or our should so some than that the their them then",
        "there these they this to up us was we were what when where which who why will with would",
        "you your",
    )
    for word in line.split()
)


@dataclass(frozen=True, slots=True)
class Term:
    """Something to look for: a word, or several in a row. `weight` is 1 for what was said."""

    words: Phrase
    weight: float = 1.0


#: What was said, and what it may mean: whichever fits a section best, counts.
Notion = tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """What a question asks for.

    Attributes:
        notions: Each once, in order. Empty when there was no word in the question.
        pairs: Words that were said next to each other.
        text: All words in order, repaired, also those that only ask.
        shown: The words as searched for when some were repaired; else empty.
    """

    notions: tuple[Notion, ...]
    pairs: tuple[Phrase, ...]
    text: str
    shown: str


def parse_query(
    text: str, *, vocabulary: EverydayVocabulary, repair: Callable[[str], str]
) -> Query:
    """Read a question of any length and content.

    Args:
        text: The question. Nothing in it is an operator.
        vocabulary: What everyday words mean.
        repair: Returns the word that was meant by a misspelt one; any other as it is.
    """
    said = cleaning.words(text[:MAX_QUERY_CHARS])[:MAX_WORDS]
    words = [word if word in STOP_WORDS else repair(word) for word in said]
    stems = stems_of(words)
    telling = [at for at, word in enumerate(words) if word not in STOP_WORDS] or range(len(words))
    notions: dict[Phrase, list[Term]] = {(stems[at],): [Term((words[at],))] for at in telling}
    for phrase, meanings in _everyday_phrases(stems, telling, vocabulary):
        notions.setdefault(phrase, []).extend(
            Term(meaning, MEANING_WEIGHT)
            for meaning in meanings
            if stems_of(meaning) not in notions
        )
    text = " ".join(words)
    told = [words[at] for at in telling]
    neighbours = zip(told, told[1:], strict=False)
    return Query(
        notions=tuple(tuple(terms) for terms in notions.values() if terms),
        pairs=tuple(dict.fromkeys(pair for pair in neighbours if pair[0] != pair[1])),
        text=text,
        shown=text if words != said else "",
    )


def _everyday_phrases(
    stems: Phrase, telling: Collection[int], vocabulary: EverydayVocabulary
) -> Iterator[tuple[Phrase, tuple[Phrase, ...]]]:
    """Yield what is said in everyday words, longest phrases first; no word is taken twice."""
    taken: set[int] = set()
    for length in range(min(vocabulary.longest_phrase, len(stems)), 0, -1):
        for at in range(len(stems) - length + 1):
            places = range(at, at + length)
            phrase = stems[at : at + length]
            is_free = taken.isdisjoint(places) and (length > 1 or at in telling)
            if is_free and (meanings := vocabulary.meanings.get(phrase)):
                taken.update(places)
                yield phrase, meanings
