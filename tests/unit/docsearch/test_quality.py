"""Questions about the small documentation, each with the page that answers it."""

import json

import pytest

from docsearch.index import DocsIndex
from docsearch.search import search_index
from tests.unit.docsearch.conftest import DOCUMENTATION

QUESTIONS = [
    json.loads(line) for line in (DOCUMENTATION / "questions.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("question", QUESTIONS, ids=[question["id"] for question in QUESTIONS])
def test_the_page_that_answers_is_among_the_first_two(
    index: DocsIndex, question: dict[str, list[list[str]]]
) -> None:
    passages = search_index(index, str(question["query"]), limit=2).passages

    assert question["relevant"][0][0] in {passage.path for passage in passages}


def test_correct_questions_are_not_repaired(index: DocsIndex) -> None:
    correct = [question["query"] for question in QUESTIONS if question["kind"] != "typo"]

    repaired = [search_index(index, text).shown_query for text in correct]

    assert not any(repaired), [text for text in repaired if text]
