"""Meaning beside words: what it adds, what it must not change, and when it does not count."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from docsearch import schema
from docsearch.errors import IndexUnusable
from docsearch.hybrid.nearness import VectorSearch
from docsearch.index import DocsIndex
from docsearch.results import Outcome
from docsearch.search import search_docs, search_index
from docsearch.store import IndexStore
from tests.unit.docsearch.encoders import WordEncoder
from tests.unit.docsearch.pages import build, install

#: As a model would know that a quokka is a marsupial.
ENCODER = WordEncoder({"quokka": "marsupial", "cuddly": "marsupial"})
PAGES = {
    "marsupials": "# Marsupials\n\nA marsupial has a pouch. Marsupial after marsupial.",
    "runners": "# Runners\n\nRegister a runner with a token.",
    "boards": "# Boards\n\nA quokka token of a board, in a list of issues and much else.",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return build(tmp_path, ENCODER, **PAGES)


@pytest.fixture
def index(file: Path) -> Iterator[DocsIndex]:
    with closing(DocsIndex(file)) as opened:
        yield opened


def paths(index: DocsIndex, question: str, meaning: VectorSearch | None) -> list[str]:
    passages = search_index(index, question, meaning=meaning).passages
    return [passage.path for passage in passages]


def test_a_page_near_in_meaning_is_found_beside_those_with_the_words(index: DocsIndex) -> None:
    by_words = paths(index, "cuddly quokka", None)

    assert by_words == ["doc/boards.md"]
    assert set(paths(index, "cuddly quokka", VectorSearch(ENCODER))) > {"doc/marsupials.md"}


def test_what_words_say_of_the_documentation_stays_as_it_is(index: DocsIndex) -> None:
    by_words = search_index(index, "cuddly quokka")

    found = search_index(index, "cuddly quokka", meaning=VectorSearch(ENCODER))

    assert found.outcome is by_words.outcome is Outcome.NOT_DOCUMENTED
    assert found.reason == by_words.reason
    assert "cuddly" in found.reason
    assert found.match == by_words.match


def test_where_no_page_has_any_word_nothing_is_found(index: DocsIndex) -> None:
    result = search_index(index, "cuddly", meaning=VectorSearch(ENCODER))

    assert (result.outcome, result.passages) == (Outcome.NOTHING_FOUND, ())


@pytest.mark.parametrize("text", ["", "?!", "\0", "how do I", "🦘", "x" * 1_000_000])
def test_any_text_is_answered(index: DocsIndex, text: str) -> None:
    assert search_index(index, text, meaning=VectorSearch(ENCODER)).reason


def test_a_misspelt_word_is_encoded_as_it_was_repaired(tmp_path: Path) -> None:
    encoder = WordEncoder({"register": "marsupial"})
    with closing(DocsIndex(build(tmp_path, encoder, **PAGES))) as index:
        result = search_index(index, "regsiter", meaning=VectorSearch(encoder))

    assert result.shown_query == "register"
    assert "doc/marsupials.md" in {passage.path for passage in result.passages}


def test_the_nearer_of_two_pages_with_the_same_words_comes_first(tmp_path: Path) -> None:
    encoder = WordEncoder({"purple": "lilac"})
    pages = {"a": "# Paint\n\nOf any sort, walls.", "b": "# Paint\n\nLilac lilac, walls."}
    with closing(DocsIndex(build(tmp_path, encoder, **pages))) as index:
        assert paths(index, "purple paint", None) == ["doc/a.md", "doc/b.md"]
        assert paths(index, "purple paint", VectorSearch(encoder)) == ["doc/b.md", "doc/a.md"]


# --- When it does not count ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("built_with", "told"),
    [
        (None, "holds no vectors"),
        (WordEncoder(name="another model"), "has vectors of another model"),
    ],
)
def test_vectors_of_another_model_or_none_count_for_nothing_and_the_answer_says_so(
    tmp_path: Path, built_with: WordEncoder | None, told: str
) -> None:
    store = IndexStore(tmp_path / "store")
    install(store, tmp_path, built_with, **PAGES)
    by_words = search_docs(store, "quokka token")

    result = search_docs(store, "quokka token", meaning=VectorSearch(ENCODER))

    assert by_words.warning == ""
    assert f"searched by words only: its index {told}" in result.warning
    assert "build_docs_index --vectors" in result.warning
    assert result.passages == by_words.passages


def test_a_node_without_the_extra_answers_from_an_index_with_vectors_by_words(
    tmp_path: Path, file: Path
) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    plain = build(folder, **PAGES)

    with closing(DocsIndex(file)) as with_vectors, closing(DocsIndex(plain)) as without:
        assert with_vectors.facts.encoder == ENCODER.identity
        assert search_index(with_vectors, "quokka") == search_index(without, "quokka")


def test_nothing_of_the_extra_is_imported_by_a_search_by_words(file: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from docsearch.index import DocsIndex
from docsearch.search import search_index
assert search_index(DocsIndex(Path({str(file)!r})), "quokka").passages
print([name for name in sys.modules if name.startswith(("numpy", "docsearch.hybrid"))])
"""
    told = subprocess.check_output([sys.executable, "-c", program], text=True)

    assert told.strip() == "[]"


# --- Files ----------------------------------------------------------------------------------------


@contextmanager
def changing(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file)) as connection:
        yield connection
        connection.commit()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vectors SET vector = zeroblob(63) WHERE section_id = 1",
        "UPDATE vectors SET vector = zeroblob(65) WHERE section_id = 1",
        "UPDATE vectors SET vector = zeroblob(0)",
        "UPDATE vectors SET vector = 'AAAAAAAA' || hex(zeroblob(28)) WHERE section_id = 1",
        "DELETE FROM vectors WHERE section_id = 1",
        "DELETE FROM vectors",
        "UPDATE vectors SET section_id = 1000 WHERE section_id = 1",
        "UPDATE vectors SET section_id = -1 WHERE section_id = 1",
        "INSERT INTO vectors VALUES (1000, zeroblob(64))",
        "UPDATE facts SET value = '128' WHERE name = 'encoder_dimensions'",
        "UPDATE facts SET value = 'many' WHERE name = 'encoder_dimensions'",
        "DELETE FROM facts WHERE name = 'encoder_sha256'",
        "DROP TABLE vectors",
        "CREATE TABLE more (section_id INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
        f"PRAGMA user_version = {schema.VERSION}",
    ],
)
def test_vectors_that_do_not_fit_make_an_index_unusable_also_without_the_extra(
    file: Path, statement: str
) -> None:
    with changing(file) as connection:
        connection.execute(statement)

    with pytest.raises(IndexUnusable, match="build_docs_index"):
        DocsIndex(file)


def test_an_index_without_vectors_may_not_say_it_has_some(tmp_path: Path) -> None:
    file = build(tmp_path, **PAGES)
    with changing(file) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION_WITH_VECTORS}")

    with pytest.raises(IndexUnusable):
        DocsIndex(file)


def test_vectors_of_zeros_are_near_nothing(file: Path) -> None:
    with changing(file) as connection:
        connection.execute("UPDATE vectors SET vector = zeroblob(64)")

    with closing(DocsIndex(file)) as index:
        assert paths(index, "cuddly quokka", VectorSearch(ENCODER)) == ["doc/boards.md"]


def test_a_second_build_with_vectors_is_byte_identical(tmp_path: Path, file: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()

    assert build(again, ENCODER, **PAGES).read_bytes() == file.read_bytes()


def test_without_an_encoder_the_index_has_no_trace_of_vectors(tmp_path: Path) -> None:
    with closing(sqlite3.connect(build(tmp_path, **PAGES))) as connection:
        facts = dict(connection.execute("SELECT name, value FROM facts"))
        assert schema.objects_in(connection) == schema.expected_objects(schema.VERSION)

    assert not [name for name in facts if name.startswith("encoder")]
