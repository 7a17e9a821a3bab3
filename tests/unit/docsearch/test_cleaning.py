import pytest

from docsearch.cleaning import MAX_WORD_CHARS, plain_text, stem, without_markers, words


def test_words_are_lower_case_letters_and_digits_in_order() -> None:
    assert words("Set gitlab_rails['smtp_port'] = 465!") == [
        "set", "gitlab", "rails", "smtp", "port", "465",
    ]  # fmt: skip


def test_words_of_other_scripts_are_words_too() -> None:
    assert words("Über ﬁle 議題 issue") == ["über", "file", "議題", "issue"]


def test_keys_and_hashes_are_no_words() -> None:
    assert words("key " + "a" * (MAX_WORD_CHARS + 1)) == ["key"]


def test_forms_of_a_word_have_one_stem() -> None:
    assert stem("boards") == stem("board")


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("See [the board](../board.md#top) and [it][1].", "See the board and it."),
        ("[![Build](badge.svg)](https://example.com)", "Build"),
        ("[1]: https://example.com/some/place", ""),
        ("> [!note] Mind this", " Mind this"),
        ('<img src="a.png" alt="The board"> <b>bold</b>', "The board  bold "),
        ("at https://example.com/a/b it is", "at   it is"),
        ("`a < b` and c > d", "`a < b` and c > d"),
    ],
)
def test_plain_text_keeps_what_is_said(markdown: str, plain: str) -> None:
    assert plain_text(markdown) == plain


@pytest.mark.parametrize(
    ("markdown", "kept"),
    [
        ('{{< tab title="By number" >}}', "By number"),
        ("{{< /tabs >}}", ""),
        ("{{% snippet %}}text", "text"),
        ("Word {:.no_toc}", "Word "),
        ("[[_TOC_]]", ""),
        ("[TOC]", ""),
    ],
)
def test_what_only_a_site_generator_reads_is_left_out(markdown: str, kept: str) -> None:
    assert without_markers(markdown) == kept
