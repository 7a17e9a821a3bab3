import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from docsearch import schema
from docsearch.builder import build_index
from docsearch.index import DocsIndex
from docsearch.source import read_source
from docsearch.versions import GitLabVersion
from tests.unit.docsearch.conftest import DOCUMENTATION
from tests.unit.docsearch.pages import build, source_of

REPOSITORY = Path(__file__).parents[3]


def test_second_build_is_byte_identical(index_file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.sqlite3"

    build_index(read_source(DOCUMENTATION), again, version=GitLabVersion(17, 4, 0))

    assert again.read_bytes() == index_file.read_bytes()


def test_a_build_in_another_process_is_byte_identical(index_file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.sqlite3"
    code = (
        "import sys, pathlib as p; from docsearch.builder import build_index;"
        "from docsearch.source import read_source; from docsearch.versions import GitLabVersion;"
        "build_index(read_source(p.Path(sys.argv[1])), p.Path(sys.argv[2]),"
        " version=GitLabVersion(17, 4, 0))"
    )
    environment = {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "PYTHONPATH": str(REPOSITORY)}

    subprocess.run(
        [sys.executable, "-c", code, str(DOCUMENTATION), str(again)], env=environment, check=True
    )

    assert again.read_bytes() == index_file.read_bytes()


def test_summary_counts_pages_sections_and_stubs(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    source = source_of(a="# A\n\n## B\n", b="This document was moved to [a](a.md).")

    summary = build_index(
        source,
        tmp_path / "index.sqlite3",
        version=GitLabVersion(17, 4, 0),
        on_page=lambda done, of: told.append((done, of)),
    )

    assert (summary.page_count, summary.section_count, summary.stub_count) == (1, 2, 1)
    assert summary.index_bytes == (tmp_path / "index.sqlite3").stat().st_size
    assert told == [(1, 2), (2, 2)]


def test_index_declares_what_the_schema_says_and_nothing_else(index_file: Path) -> None:
    with closing(sqlite3.connect(index_file)) as connection:
        assert schema.objects_in(connection) == schema.expected_objects(schema.VERSION)
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_index_says_what_it_is_of(index: DocsIndex) -> None:
    assert index.facts.gitlab_version == GitLabVersion(17, 4, 0)
    assert index.facts.docs_root == "doc/"
    assert (index.facts.url_base, index.facts.page_count) == ("/help/", 17)


def test_a_build_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    file = build(tmp_path, a="# A")
    before = file.read_bytes()

    def fail(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(source_of(b="# B"), file, version=GitLabVersion(17, 4, 0), on_page=fail)

    assert file.read_bytes() == before
    assert [*tmp_path.iterdir()] == [file]
