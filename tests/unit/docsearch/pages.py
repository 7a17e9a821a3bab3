"""Documentation made for one test."""

from pathlib import Path

from docsearch.builder import build_index
from docsearch.source import Source, SourceFile
from docsearch.versions import GitLabVersion


def source_of(**pages: str) -> Source:
    """Return a source whose pages are `doc/<name>.md`."""
    files = (SourceFile(f"doc/{name}.md", text) for name, text in sorted(pages.items()))
    return Source(tuple(files), "doc/")


def build(folder: Path, *, version: str = "17.4.0", **pages: str) -> Path:
    """Build an index of `pages` in `folder` and return its file."""
    file = folder / f"docs-{version}.sqlite3"
    build_index(source_of(**pages), file, version=GitLabVersion.parse(version))
    return file
