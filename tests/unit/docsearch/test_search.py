"""What someone who asks is answered."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docsearch.index import DocsIndex
from docsearch.results import Outcome, SearchResult, count_tokens
from docsearch.search import MAX_PASSAGE_TOKENS, search_docs, search_index
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from tests.unit.docsearch.conftest import DOCUMENTATION
from tests.unit.docsearch.pages import ODD, build, install

V17_4, V18_0 = GitLabVersion(17, 4, 0), GitLabVersion(18, 0, 0)


def test_a_passage_says_where_it_stands(index: DocsIndex) -> None:
    (passage,) = search_index(index, "create a board", limit=1).passages

    assert passage.path == "doc/user/project/issue_board.md"
    assert passage.path_below_root == "user/project/issue_board.md"
    assert (passage.title, passage.trail) == ("Issue boards", ("Create a board",))
    assert passage.url == "/help/user/project/issue_board.md#create-a-board"
    assert passage.content.startswith("## Create a board\n\n1. Open")
    assert passage.token_count == count_tokens(passage.content)
    assert passage.score > 0


def test_a_short_section_is_told_with_its_subsections(index: DocsIndex) -> None:
    (passage,) = search_index(index, "artifacts files that a job leaves", limit=1).passages

    assert passage.trail == ("artifacts",)
    assert "expire after 30 days" in passage.content
    assert "retry" not in passage.content


def test_passages_are_of_different_pages_and_best_first(index: DocsIndex) -> None:
    passages = search_index(index, "issue", limit=30).passages

    assert len({passage.path for passage in passages}) == len(passages) > 3
    assert [passage.score for passage in passages] == sorted(
        (passage.score for passage in passages), reverse=True
    )


@pytest.mark.parametrize(("limit", "count"), [(-5, 1), (0, 1), (1, 1), (2, 2)])
def test_no_more_passages_than_wanted(index: DocsIndex, limit: int, count: int) -> None:
    assert len(search_index(index, "issue", limit=limit).passages) == count


def test_passages_stay_within_the_budget(index: DocsIndex) -> None:
    passages = search_index(index, "issue", limit=30, token_budget=60).passages

    assert 1 <= len(passages) < 30
    assert sum(passage.token_count for passage in passages) <= 60


def test_something_of_the_best_passage_always_fits(index: DocsIndex) -> None:
    whole = search_index(index, "create a board", limit=1).passages[0]

    (cut,) = search_index(index, "create a board", token_budget=10).passages
    (least,) = search_index(index, "create a board", token_budget=0).passages

    assert whole.content.startswith(cut.content)
    assert 0 < cut.token_count <= 10
    assert least.content


def test_a_very_long_section_is_cut(tmp_path: Path) -> None:
    index = DocsIndex(build(tmp_path, long="# Long\n\n" + "word " * 5000))

    (passage,) = search_index(index, "long").passages

    assert passage.token_count == MAX_PASSAGE_TOKENS
    index.close()


def test_repaired_words_are_shown(index: DocsIndex) -> None:
    result = search_index(index, "regsiter a runner", limit=1)

    assert result.shown_query == "register a runner"
    assert result.passages[0].trail == ("Register a runner",)


def test_comments_tiers_and_link_targets_are_not_found(index: DocsIndex) -> None:
    for word in ("zeppelin", "ultimate"):
        assert search_index(index, word).outcome is Outcome.NOTHING_FOUND


def test_a_word_the_version_does_not_know_is_named(index: DocsIndex) -> None:
    result = search_index(index, "kubernetes runner")

    assert result.outcome is Outcome.NOT_DOCUMENTED
    assert "kubernetes" in result.reason
    assert result.passages[0].path == "doc/ci/runners.md"


def test_nothing_found_is_told_with_the_version(index: DocsIndex) -> None:
    result = search_index(index, "quokka")

    assert (result.outcome, result.passages) == (Outcome.NOTHING_FOUND, ())
    assert "17.4.0" in result.reason


@pytest.fixture
def store(tmp_path: Path) -> IndexStore:
    return IndexStore(tmp_path / "store")


def test_no_index_is_told_with_what_to_do(store: IndexStore) -> None:
    result = search_docs(store, "create a board")

    assert (result.outcome, result.passages) == (Outcome.NO_INDEX, ())
    assert "No documentation index is installed" in result.reason


def test_an_older_release_answers_with_a_warning(store: IndexStore, tmp_path: Path) -> None:
    install(store, tmp_path, version="17.4.0", board="# Issue board")

    result = search_docs(store, "board", wanted_version=V18_0)

    assert result.searched_version == V17_4
    assert "18.0.0" in result.warning
    assert result.passages


def test_a_newer_release_does_not_answer(store: IndexStore, tmp_path: Path) -> None:
    install(store, tmp_path, version="18.0.0", board="# Issue board")

    result = search_docs(store, "board", wanted_version=V17_4)

    assert result.outcome is Outcome.NO_INDEX
    assert "only of 18.0.0" in result.reason


def test_what_only_newer_documentation_has_is_said(store: IndexStore, tmp_path: Path) -> None:
    old = {
        "board": "# Issue board\n\nIts lists form a train of cards.",
        "merge": "# Merge requests\n\nThey propose changes.",
    }
    install(store, tmp_path, version="17.4.0", **old)
    train = "# Merge trains\n\nA merge train merges in turn."
    install(store, tmp_path, version="18.0.0", **old, train=train)

    asked_old = search_docs(store, "merge trains", wanted_version=V17_4)
    asked_new = search_docs(store, "merge trains", wanted_version=V18_0)

    assert asked_old.outcome is Outcome.NOT_DOCUMENTED
    assert "18.0.0 documents it" in asked_old.reason
    assert asked_new.passages[0].path == "doc/train.md"


def test_a_damaged_index_is_told_and_does_not_raise(store: IndexStore, tmp_path: Path) -> None:
    install(store, tmp_path, version="17.4.0", board="# Issue board\n\n" + "text " * 20_000)
    file = store.path_of(V17_4)
    content = bytearray(file.read_bytes())
    content[8192:] = bytes(len(content) - 8192)
    file.write_bytes(content)

    assert search_docs(store, "board").outcome is Outcome.NO_INDEX


# --- Whatever is asked ---------------------------------------------------------------------------


def is_an_answer(result: SearchResult) -> bool:
    return bool(result.passages) or bool(result.reason)


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_odd_questions_have_an_answer_or_a_reason(index: DocsIndex, text: str) -> None:
    assert is_an_answer(search_index(index, text))


@settings(deadline=None)
@given(text=st.text() | st.text('abc"*():^+-{} ANDORNTE', max_size=40))
def test_every_question_has_an_answer_or_a_reason(index_file: Path, text: str) -> None:
    index = DocsIndex(index_file)

    result = search_index(index, text)

    index.close()
    assert is_an_answer(result)
    assert all((DOCUMENTATION / passage.path).exists() for passage in result.passages)
