"""What is inside an index file; one from elsewhere is compared with it, by statement."""

import sqlite3
from contextlib import closing
from enum import IntEnum
from functools import cache

from docsearch import cleaning

#: Raise both with any change to the statements below, or to what their columns mean.
VERSION = 1
#: Of an index that holds vectors too; without them it is the same bytes as ever.
VERSION_WITH_VECTORS = 2
VERSIONS = (VERSION, VERSION_WITH_VECTORS)

#: Fixed, so that the same documentation makes the same bytes everywhere.
PAGE_SIZE_BYTES = 4096

TABLES = (
    # gitlab_version, cleaning_version, url_base, docs_root, page_count, section_count; with
    # vectors also what made them: encoder_name, encoder_sha256, encoder_dimensions
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # ids from 1, in the order of the paths; content: what a reader sees, UTF-8, zlib
    "CREATE TABLE pages (id INTEGER PRIMARY KEY, path TEXT NOT NULL, title TEXT NOT NULL,"
    " content BLOB NOT NULL)",
    # ids from 1, those of a page in a row; trail: the headings above and its own, a line each;
    # begins, ends: characters of the page's content; word_count: of its body, as indexed
    "CREATE TABLE sections (id INTEGER PRIMARY KEY, page_id INTEGER NOT NULL, trail TEXT NOT NULL,"
    " anchor TEXT NOT NULL, level INTEGER NOT NULL, begins INTEGER NOT NULL,"
    " ends INTEGER NOT NULL, word_count INTEGER NOT NULL)",
    # what misspelt words are repaired from
    "CREATE TABLE vocabulary (word TEXT PRIMARY KEY, page_count INTEGER NOT NULL) WITHOUT ROWID",
    # one row for each field of each section (`row_of`); scores are made in docsearch.ranking
    "CREATE VIRTUAL TABLE words USING fts5(text, content='', columnsize=0,"
    f" tokenize='{cleaning.TOKENIZER}')",
)

#: One for each section, as `encoding.Encoder` makes them.
VECTORS_TABLE = "CREATE TABLE vectors (section_id INTEGER PRIMARY KEY, vector BLOB NOT NULL)"


class Field(IntEnum):
    """Where a word stands. The title is that of the page, with the page's first section only."""

    BODY = 0
    HEADING = 1
    HEADINGS_ABOVE = 2
    TITLE = 3


#: Rowids in `words` are ordered by field; no documentation has so many sections.
FIELD_STRIDE = 1 << 24


def row_of(section_id: int, field: Field) -> int:
    """Return the rowid in `words` of one field of a section."""
    return field * FIELD_STRIDE + section_id


def objects_in(connection: sqlite3.Connection) -> set[tuple[str, str, str, str | None]]:
    """Return everything a database declares: type, name, table and statement."""
    return set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version an index file says it has."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def tables_of(version: int) -> tuple[str, ...]:
    """Return the statements of an index of one of the `VERSIONS`."""
    return (*TABLES, VECTORS_TABLE) if version == VERSION_WITH_VECTORS else TABLES


@cache
def expected_objects(version: int) -> frozenset[tuple[str, str, str, str | None]]:
    """Return what an index declares, shadow tables of FTS5 included, and nothing else may."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in tables_of(version):
            connection.execute(statement)
        return frozenset(objects_in(connection))
