import pytest

from docsearch.errors import GoldenQuestionsInvalid
from docsearch.golden import (
    EXAMPLE,
    MAX_FILE_BYTES,
    GoldenEntry,
    check_golden_questions,
    digest_of,
    parse_golden_questions,
)
from docsearch.index import DocsIndex
from docsearch.results import SearchResult
from docsearch.search import search_index


def test_a_file_is_read_with_pages_as_people_write_them() -> None:
    text = b"""
- question: " how do I create a board? "
  page: /user/project/issue_board.md
  anchor: "#create-a-board"
- {question: mail settings, page: administration/smtp.md}
"""

    assert parse_golden_questions(text) == (
        GoldenEntry("how do I create a board?", "user/project/issue_board.md", "create-a-board"),
        GoldenEntry("mail settings", "administration/smtp.md"),
    )


def test_the_example_in_the_message_is_a_file() -> None:
    assert parse_golden_questions(EXAMPLE.encode()) == (GoldenEntry("how do I …?", "ci/x.md"),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"- [", r"not YAML \(line 1\)"),
        (b"- {question: boards?, page: a.md}", "Put questions in quotes"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"question: x", "not a list"),
        (b"- x", "Question 1: it needs 'question' and 'page'"),
        (b"- {question: x}", "Question 1: it needs"),
        (b"- {question: x, page: a.md, limit: 3}", "nothing else"),
        (b"- {question: 1, page: a.md}", "in quotes"),
        (b"- {question: ' ', page: a.md}", "Write the question"),
        (b"- {question: x, page: a.html}", r"ci/yaml/README\.md"),
        (b'- {question: "a\\nb", page: a.md}', "in one line"),
        (b"- {question: " + b"x" * 301 + b", page: a.md}", "at most 300"),
        (b"- {question: x, page: a.md}\n- {question: x, page: b.md}", "Question 2: .*twice"),
        (b"- {question: x, page: a.md}\n" * 501, "at most 500"),
        (b"#" * (MAX_FILE_BYTES + 1), "larger than"),
        (b"[" * 5000, "not YAML"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(text: bytes, told: str) -> None:
    with pytest.raises(GoldenQuestionsInvalid, match=told):
        parse_golden_questions(text)


def test_a_question_passes_when_its_page_is_among_the_first_answers(index: DocsIndex) -> None:
    def search(question: str, limit: int) -> SearchResult:
        return search_index(index, question, limit=limit)

    page = "user/project/issue_board.md"
    entries = [
        GoldenEntry("create a board", page),
        GoldenEntry("create a new board", page, "create-a-board"),
        GoldenEntry("craete a board", page, "no-such-section"),
        GoldenEntry("smtp", page),
    ]

    failures = check_golden_questions(entries, search)

    assert [failure.question for failure in failures] == ["craete a board", "smtp"]
    assert f"{page}#create-a-board" in failures[0].found
    assert failures[1].found[0].startswith("administration/smtp.md")


def test_another_set_of_questions_is_told_apart() -> None:
    first = (GoldenEntry("a", "a.md"),)

    assert digest_of(first) == digest_of((GoldenEntry("a", "a.md"),))
    assert digest_of(first) != digest_of((GoldenEntry("a", "a.md", "x"),))
