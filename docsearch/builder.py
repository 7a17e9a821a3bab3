"""Making an index file of a documentation source.

The same source makes the same bytes: pages in the order of their paths, a fixed page size, no
times, and a last VACUUM that lays everything out anew.
"""

import os
import sqlite3
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from docsearch import cleaning, schema
from docsearch.encoding import Encoder
from docsearch.schema import Field, row_of
from docsearch.sections import Section, parse_page
from docsearch.source import Source, SourceFile
from docsearch.versions import GitLabVersion

#: Where a GitLab instance serves the documentation of its own version, air-gapped or not.
DEFAULT_URL_BASE = "/help/"

_COMPRESSION_LEVEL = 6
#: A vocabulary word is what people type: shorter ones and longer ones are not repaired.
_VOCABULARY_WORD_CHARS = range(3, 25)


@dataclass(frozen=True, slots=True)
class BuildSummary:
    """What was built. `stub_count` pages only said where their content went, and were left out.

    `schema_version` is one of `schema.VERSIONS`.
    """

    schema_version: int
    page_count: int
    section_count: int
    stub_count: int
    index_bytes: int


def build_index(
    source: Source,
    output: Path,
    *,
    version: GitLabVersion,
    url_base: str = DEFAULT_URL_BASE,
    encoder: Encoder | None = None,
    on_page: Callable[[int, int], None] = lambda done, of: None,
) -> BuildSummary:
    """Write the index of `source` to `output`, which is replaced in one step when it is whole.

    Args:
        source: The documentation.
        output: The file; its folder must exist.
        version: The GitLab version the documentation is of.
        url_base: What a page's address begins with, up to its path below the documentation's root.
        encoder: Makes a vector of each section, for `docsearch.hybrid`; None for none.
        on_page: Told after each page how many are done, and of how many.
    """
    handle, unfinished = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    os.close(handle)
    try:
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            writer = _Writer(connection, encoder)
            for at, file in enumerate(source.files):
                writer.add(file)
                on_page(at + 1, len(source.files))
            writer.finish(
                gitlab_version=str(version), url_base=url_base, docs_root=source.docs_root
            )
        index_bytes = Path(unfinished).stat().st_size
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, output)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    counts = (writer.page_count, writer.section_count, writer.stub_count)
    return BuildSummary(writer.schema_version, *counts, index_bytes)


class _Writer:
    """Fills one index file. Nothing is synced to disk before it is whole."""

    def __init__(self, connection: sqlite3.Connection, encoder: Encoder | None) -> None:
        self.page_count = self.section_count = self.stub_count = 0
        self._page_counts: Counter[str] = Counter()
        self._texts: list[tuple[int, str]] = []
        self._encoder = encoder
        self._vectors: list[tuple[int, bytes]] = []
        self.schema_version = schema.VERSION_WITH_VECTORS if encoder else schema.VERSION
        self._run = connection.execute
        self._run(f"PRAGMA page_size = {schema.PAGE_SIZE_BYTES}")
        self._run("PRAGMA journal_mode = OFF")
        self._run("PRAGMA synchronous = OFF")
        self._run(f"PRAGMA user_version = {self.schema_version}")
        self._run("BEGIN")
        for statement in schema.tables_of(self.schema_version):
            self._run(statement)

    def add(self, file: SourceFile) -> None:
        """Write a page and its sections, unless it is a stub."""
        name = PurePosixPath(file.path).stem.replace("_", " ").replace("-", " ")
        page = parse_page(file.text, fallback_title=name)
        if page.is_stub or not page.sections:
            self.stub_count += 1
            return
        self.page_count += 1
        title = _words(page.title)
        self._index(self.section_count + 1, Field.TITLE, title)
        seen = set(title)
        contents: list[str] = []
        begins = 0
        for section in page.sections:
            content = "\n".join(section.lines).strip("\n") + "\n\n"
            contents.append(content)
            place = (begins, begins := begins + len(content))
            seen.update(self._add_section(section, place))
            self._encode(page.title, section)
        packed = zlib.compress("".join(contents).encode(), _COMPRESSION_LEVEL)
        row = (self.page_count, file.path, page.title, packed)
        self._run("INSERT INTO pages VALUES (?, ?, ?, ?)", row)
        self._page_counts.update(seen)

    def _add_section(self, section: Section, place: tuple[int, int]) -> list[str]:
        """Write a section of the page being written, and return its words."""
        self.section_count += 1
        above = _words("\n".join(section.trail[:-1]))
        heading = _words("".join(section.trail[-1:]))
        body = _words("\n".join(section.indexed_lines))
        self._index(self.section_count, Field.HEADING, heading)
        self._index(self.section_count, Field.HEADINGS_ABOVE, above)
        self._index(self.section_count, Field.BODY, body)
        names = ("\n".join(section.trail), section.anchor)
        row = (self.section_count, self.page_count, *names, section.level, *place, len(body))
        self._run("INSERT INTO sections VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return heading + body

    def _encode(self, title: str, section: Section) -> None:
        """Make the vector of the section just added."""
        if self._encoder:
            text = cleaning.plain_text("\n".join(section.indexed_lines))
            vector = self._encoder.encode("\n".join((title, *section.trail, text)))
            self._vectors.append((self.section_count, vector))

    def _index(self, section_id: int, field: Field, words: list[str]) -> None:
        if words:
            self._texts.append((row_of(section_id, field), " ".join(words)))

    def finish(self, **facts: str) -> None:
        """Write what belongs to the whole, and lay the file out."""
        counts = {"page_count": self.page_count, "section_count": self.section_count}
        made_by = {
            f"encoder_{name}": value
            for name, value in (asdict(self._encoder.identity) if self._encoder else {}).items()
        }
        of_all = {**facts, **counts, **made_by, "cleaning_version": cleaning.VERSION}
        for name, value in of_all.items():
            self._run("INSERT INTO facts VALUES (?, ?)", (name, str(value)))
        for vector in self._vectors:
            self._run("INSERT INTO vectors VALUES (?, ?)", vector)
        for word, page_count in sorted(self._page_counts.items()):
            if word.isalpha() and len(word) in _VOCABULARY_WORD_CHARS:
                self._run("INSERT INTO vocabulary VALUES (?, ?)", (word, page_count))
        for row in sorted(self._texts):  # FTS5 takes rows in their order much faster
            self._run("INSERT INTO words (rowid, text) VALUES (?, ?)", row)
        self._run("INSERT INTO words (words) VALUES ('optimize')")
        self._run("COMMIT")
        self._run("VACUUM")


def _words(markdown: str) -> list[str]:
    return cleaning.words(cleaning.plain_text(markdown))
