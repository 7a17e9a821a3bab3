"""An index file may come from anywhere: what is wrong with it is told, and nothing else happens."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from docsearch.errors import IndexUnusable, SearchStopped
from docsearch.index import DocsIndex


def changed(index_file: Path, folder: Path, *statements: str) -> Path:
    """Return a copy of the index after `statements`."""
    file = folder / "changed.sqlite3"
    file.write_bytes(index_file.read_bytes())
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return file


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW hostile AS SELECT 1",
        "CREATE TRIGGER hostile AFTER INSERT ON facts BEGIN DELETE FROM facts; END",
        "CREATE TABLE more (x)",
        "CREATE INDEX more ON pages (path)",
        "DROP TABLE vocabulary",
        "UPDATE facts SET value = '0' WHERE name = 'cleaning_version'",
        "UPDATE facts SET value = 'latest' WHERE name = 'gitlab_version'",
        "DELETE FROM facts WHERE name = 'url_base'",
        "PRAGMA user_version = 999",
    ],
)
def test_an_index_of_other_making_is_refused(
    index_file: Path, tmp_path: Path, statement: str
) -> None:
    file = changed(index_file, tmp_path, statement)

    with pytest.raises(IndexUnusable, match="build_docs_index"):
        DocsIndex(file)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"hello", bytes(100_000)])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "index.sqlite3"
    file.write_bytes(content)

    with pytest.raises(IndexUnusable):
        DocsIndex(file)


def test_a_missing_file_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable):
        DocsIndex(tmp_path / "index.sqlite3")

    assert not [*tmp_path.iterdir()]


def test_a_truncated_index_is_refused(index_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "half.sqlite3"
    file.write_bytes(index_file.read_bytes()[:8192])

    with pytest.raises(IndexUnusable):
        DocsIndex(file)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM pages",
        "CREATE TABLE x (y)",
        "ATTACH ':memory:' AS other",
        "PRAGMA writable_schema = ON",
        "SELECT load_extension('x')",
    ],
)
def test_an_open_index_is_only_read(index: DocsIndex, statement: str) -> None:
    with pytest.raises(IndexUnusable), index.reading() as connection:
        connection.execute(statement)


def test_reading_that_takes_too_long_is_stopped(index: DocsIndex) -> None:
    endless = "SELECT count(*) FROM sections a, sections b, sections c, sections d, sections e"

    with pytest.raises(SearchStopped, match="fewer words"), index.reading(within_s=0) as connection:
        connection.execute(endless).fetchone()


def test_who_waits_too_long_for_a_turn_is_told(index: DocsIndex) -> None:
    with (
        index.reading(),
        pytest.raises(SearchStopped, match="busy"),
        index.reading(within_s=0.001),
    ):
        pass
