import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsearch.spelling import Speller, count_slips, one_slip_away

SPELLER = Speller(
    {
        "pipeline": 40,
        "pipelines": 30,
        "merge": 90,
        "runner": 50,
        "running": 10,
        "request": 80,
        "team": 9,
    },
    correct={"ticket"},
)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("pipelne", "pipeline"),
        ("pieplines", "pipelines"),
        ("meerge", "merge"),
        ("reqeust", "request"),
        ("runnre", "runner"),
        ("ppielinse", "pipelines"),
        ("tikcet", "ticket"),
    ],
)
def test_a_slip_or_two_are_repaired(typed: str, meant: str) -> None:
    assert SPELLER.repair(typed) == meant


@pytest.mark.parametrize(
    "word", ["merge", "ticket", "mrg", "kubernetes", "10x7", "", "日本語日本語"]
)
def test_other_words_stay_as_they_are(word: str) -> None:
    assert SPELLER.repair(word) == word


def test_short_words_are_given_one_slip_only() -> None:
    assert SPELLER.repair("tema") == "team"
    assert SPELLER.repair("taem") == "team"
    assert SPELLER.repair("meqs") == "meqs"


@given(st.text("abcd", max_size=6), st.text("abcd", max_size=6))
def test_slips_are_counted_the_same_both_ways(word: str, other: str) -> None:
    slips = count_slips(word, other, 3)

    assert slips == count_slips(other, word, 3)
    assert (slips == 0) == (word == other)


@given(st.text("abcxyz", min_size=1, max_size=6))
def test_what_is_one_slip_away_counts_as_one(word: str) -> None:
    assert {count_slips(word, other, 2) for other in one_slip_away(word)} <= {0, 1}
