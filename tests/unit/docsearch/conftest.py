"""The small documentation of tests/documentation, read and indexed once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from docsearch.builder import build_index
from docsearch.index import DocsIndex
from docsearch.source import read_source
from docsearch.versions import GitLabVersion

DOCUMENTATION = Path(__file__).parents[2] / "documentation"


@pytest.fixture(scope="session")
def index_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the small documentation, as version 17.4.0; copy it to change it."""
    file = tmp_path_factory.mktemp("docs") / "index.sqlite3"
    build_index(read_source(DOCUMENTATION), file, version=GitLabVersion(17, 4, 0))
    return file


@pytest.fixture
def index(index_file: Path) -> Iterator[DocsIndex]:
    opened = DocsIndex(index_file)
    yield opened
    opened.close()
