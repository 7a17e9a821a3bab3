import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.tokens import cut_to_tokens, estimate_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("x" * 16, 5), ("x" * 3200, 1000), ("é", 1), ("漢字", 3), ("🚀", 2)],
)
def test_estimate_is_as_documented(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@given(st.text(), st.text())
def test_a_whole_costs_no_more_than_its_parts_and_no_less_than_each(one: str, two: str) -> None:
    whole = estimate_tokens(one + two)

    assert max(estimate_tokens(one), estimate_tokens(two)) <= whole
    assert whole <= estimate_tokens(one) + estimate_tokens(two)


@given(st.text(alphabet=st.characters(min_codepoint=128, exclude_categories=["Cs"])))
def test_a_character_outside_ascii_costs_a_token_or_more(text: str) -> None:
    assert estimate_tokens(text) >= len(text)


@given(st.text(), st.integers(-3, 60))
def test_cut_keeps_the_longest_start_that_fits(text: str, limit: int) -> None:
    kept = cut_to_tokens(text, limit)

    assert text.startswith(kept)
    assert estimate_tokens(kept) <= max(limit, 0)
    assert kept == text or estimate_tokens(text[: len(kept) + 1]) > limit


@given(st.text(), st.integers(-3, 60))
def test_cut_keeps_the_longest_end_that_fits(text: str, limit: int) -> None:
    kept = cut_to_tokens(text, limit, keep="end")

    assert text.endswith(kept)
    assert estimate_tokens(kept) <= max(limit, 0)
    assert kept == text or estimate_tokens(text[len(text) - len(kept) - 1 :]) > limit


def test_lone_surrogates_are_counted() -> None:
    assert estimate_tokens("\ud800") == 2


@pytest.mark.parametrize("text", ["x = 1\n" * 17_000, "é = 漢\n" * 17_000])
def test_estimating_costs_little_more_than_encoding(text: str) -> None:
    encoding_s = min(timeit.repeat(lambda: text.encode(), number=5, repeat=20))

    estimating_s = min(timeit.repeat(lambda: estimate_tokens(text), number=5, repeat=20))

    assert estimating_s < encoding_s * 8
