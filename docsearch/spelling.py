"""Repairing misspelt words from the words the documentation itself uses."""

import math
from collections.abc import Collection, Mapping

_ALPHABET = "abcdefghijklmnopqrstuvwxyz"

#: Shorter words have too many neighbours.
MIN_CHARS = 4
#: From this length on, two slips are forgiven.
MIN_CHARS_FOR_TWO_SLIPS = 7

# What makes one neighbour likelier than another, in slips: people rarely miss the first letter,
# swap letters more than they miss them, and mean the words the documentation uses often.
_FIRST_LETTER_DIFFERS = 0.6
_SAME_LETTERS = -0.4
_IS_SHORTER = 0.15
_PER_LOG_PAGE = -0.25


class Speller:
    """Finds what a misspelt word was meant to be."""

    def __init__(self, page_counts: Mapping[str, int], correct: Collection[str] = ()) -> None:
        """Prepare for the words of one index.

        Args:
            page_counts: Each word of the documentation, with the number of pages that have it.
            correct: More words that are right as they are, and may have been meant.
        """
        self._page_counts = {**dict.fromkeys(correct, 1), **page_counts}
        self._letters = [(word, _letters(word)) for word in self._page_counts]

    def knows(self, word: str) -> bool:
        """Return whether `word` is right as it is."""
        return word in self._page_counts

    def repair(self, word: str) -> str:
        """Return the word most likely meant, or `word` itself when none is near enough."""
        if len(word) < MIN_CHARS or not word.isalpha() or self.knows(word):
            return word
        nearest = [other for other in one_slip_away(word) if other in self._page_counts]
        if not nearest and len(word) >= MIN_CHARS_FOR_TWO_SLIPS:
            nearest = self._two_slips_away(word)
        return min(
            nearest, key=lambda other: (self._unlikeliness(word, other), other), default=word
        )

    def _two_slips_away(self, word: str) -> list[str]:
        letters = _letters(word)
        return [
            other
            for other, other_letters in self._letters
            if (letters ^ other_letters).bit_count() <= 4  # a slip changes at most two of the set
            and other[0] == word[0]  # two slips and neither in the first letter
            and count_slips(word, other, 2) <= 2
        ]

    def _unlikeliness(self, word: str, candidate: str) -> float:
        return (
            _FIRST_LETTER_DIFFERS * (candidate[0] != word[0])
            + _SAME_LETTERS * (sorted(candidate) == sorted(word))
            + _IS_SHORTER * (len(candidate) < len(word))
            + _PER_LOG_PAGE * math.log(self._page_counts[candidate])
        )


def one_slip_away(word: str) -> set[str]:
    """Return what `word` was before any one slip: of those `count_slips` counts."""
    halves = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    too_many = {left + right[1:] for left, right in halves if right}
    swapped = {left + right[1] + right[0] + right[2:] for left, right in halves if len(right) > 1}
    wrong = {left + letter + right[1:] for left, right in halves if right for letter in _ALPHABET}
    missing = {left + letter + right for left, right in halves for letter in _ALPHABET}
    return too_many | swapped | wrong | missing


def _letters(word: str) -> int:
    """Return the set of letters of `word`, as bits."""
    letters = 0
    for letter in word:
        letters |= 1 << (ord(letter) & 31)
    return letters


def count_slips(word: str, other: str, most: int) -> int:
    """Return how many slips turn one word into the other; `most` + 1 for any larger number.

    A slip is a letter too many, one missing, a wrong one, or two neighbours swapped.

    Source: optimal string alignment distance.
    """
    if abs(len(word) - len(other)) > most:
        return most + 1
    word, other = _without_common_ends(word, other)
    before: list[int] = []
    above = list(range(len(other) + 1))
    for at, letter in enumerate(word, start=1):
        row = [at]
        for other_at, other_letter in enumerate(other, start=1):
            if letter == other_letter:
                slips = above[other_at - 1]
            else:
                slips = 1 + min(above[other_at - 1], above[other_at], row[other_at - 1])
                is_swap = at > 1 and other_at > 1 and letter == other[other_at - 2]
                if is_swap and word[at - 2] == other_letter:
                    slips = min(slips, before[other_at - 2] + 1)
            row.append(slips)
        if min(row) > most:
            return most + 1
        before, above = above, row
    return min(above[-1], most + 1)


def _without_common_ends(word: str, other: str) -> tuple[str, str]:
    """Cut off what both begin and end with: most neighbours differ in the middle only."""
    shorter = min(len(word), len(other))
    start = 0
    while start < shorter and word[start] == other[start]:
        start += 1
    end = 0
    while end < shorter - start and word[-1 - end] == other[-1 - end]:
        end += 1
    return word[start : len(word) - end], other[start : len(other) - end]
