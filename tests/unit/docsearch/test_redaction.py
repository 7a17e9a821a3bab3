import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsearch.redaction import LEFT_OUT, MAX_QUESTION_CHARS, redact


@pytest.mark.parametrize(
    ("question", "kept"),
    [
        ("How do I create an issue board?", "How do I create an issue board"),
        ("what's CI/CD for merge-requests", "what's CI/CD for merge-requests"),
        ("Wie lösche ich ein Projekt?", "Wie lösche ich ein Projekt"),
        ("mail bob@acme.example about it", f"mail {LEFT_OUT} about it"),
        ("log in to https://git.acme.example/a/b now", f"log in to {LEFT_OUT} now"),
        ("runner at 10.0.4.11:8000 fails", f"runner at {LEFT_OUT} fails"),
        ("token glpat-AbC123def456 is refused", f"token {LEFT_OUT} is refused"),
        ("my password is hunter", f"my password is {LEFT_OUT}"),
        ("set secret=swordfish please", f"set {LEFT_OUT} please"),
        ("issue #4711 and !12 of @anna", f"issue {LEFT_OUT} and {LEFT_OUT} of {LEFT_OUT}"),
        ("why does `rm -rf /srv/acme` hang", f"why does {LEFT_OUT} hang"),
        ("fails:\n```\nsecret log\n```\nhelp", f"fails {LEFT_OUT} help"),
        ("unclosed ```secret log", f"unclosed {LEFT_OUT}"),
        ("key aBcDeFgHiJkLmN works", f"key {LEFT_OUT} works"),
        ("x" * 40 + " word", f"{LEFT_OUT} word"),
        ("4711 10.0.0.1", ""),
        ("", ""),
        ("?!", ""),
    ],
)
def test_plain_words_stay_and_all_else_is_left_out(question: str, kept: str) -> None:
    assert redact(question) == kept


def test_a_long_question_ends_in_a_whole_word() -> None:
    kept = redact("word " * 1000)

    assert len(kept) <= MAX_QUESTION_CHARS
    assert set(kept.split()) == {"word"}


@given(st.text(max_size=2000))
def test_nothing_with_a_digit_or_an_address_is_ever_kept(question: str) -> None:
    kept = redact(question)

    assert len(kept) <= MAX_QUESTION_CHARS
    assert not any(character.isdigit() or character in "@:_\0\n" for character in kept)
