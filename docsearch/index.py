"""An index file, opened for searching as if it were hostile: it came from somewhere else.

The file is never changed in place (`docsearch.store` replaces it whole), so SQLite may treat it as
immutable. Source of the precautions: SQLite's "Defense Against The Dark Arts".
"""

import math
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from docsearch import cleaning, schema
from docsearch.encoding import EncoderIdentity
from docsearch.errors import IndexUnusable, SearchStopped, VersionInvalid
from docsearch.everyday import everyday_vocabulary
from docsearch.query import STOP_WORDS
from docsearch.ranking import Layout
from docsearch.spelling import Speller
from docsearch.versions import GitLabVersion

#: No search takes longer, waiting for its turn included.
SEARCH_WITHIN_S = 0.5

_CACHE_KIB = 2048
_STEPS_BETWEEN_LOOKS = 1000
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 16 * 1024 * 1024,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 16 * 1024,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 50,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_COLUMN: 50,
}
_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
}
_PRAGMAS = (
    "trusted_schema = OFF",
    "query_only = ON",
    "cell_size_check = ON",
    "mmap_size = 0",
    f"cache_size = -{_CACHE_KIB}",
    "temp_store = MEMORY",
)

#: What reading a file raises whose parts do not fit together.
_DAMAGED = (sqlite3.Error, zlib.error, LookupError, UnicodeError)


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """What an index says of itself; the meaning is that of `builder.build_index`.

    `encoder` made its vectors; None where it has none.
    """

    gitlab_version: GitLabVersion
    url_base: str
    docs_root: str
    page_count: int
    section_count: int
    encoder: EncoderIdentity | None


class DocsIndex:
    """One open index. Threads may share it; they take turns.

    Attributes:
        facts: What it is an index of.
        layout: How its sections lie.
        speller: Repairs misspelt words from its own.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            IndexUnusable: It is no index, or one of another release of this product.
        """
        self._turn = threading.Lock()
        self._stop_at = math.inf
        try:
            self._connection = _connect(path)
        except sqlite3.Error as error:
            raise _unusable(path, error) from error
        try:
            has_vectors = _check_layout(self._connection)
            self._connection.set_authorizer(_authorize)
            self.facts = _read_facts(self._connection, has_vectors=has_vectors)
            if self.facts.encoder:
                _check_vectors(self._connection, self.facts.encoder.dimensions)
            self.layout = Layout(self._connection)
            correct = everyday_vocabulary().words | STOP_WORDS
            self.speller = Speller(self.layout.page_counts, correct)
        except (*_DAMAGED, ValueError, TypeError, VersionInvalid) as error:
            self._connection.close()
            raise _unusable(path, error) from error
        self._connection.set_progress_handler(self._is_late, _STEPS_BETWEEN_LOOKS)

    def close(self) -> None:
        """Let go of the file; a search under way ends first."""
        with self._turn:
            self._connection.close()

    @contextmanager
    def reading(self, *, within_s: float = SEARCH_WITHIN_S) -> Iterator[sqlite3.Connection]:
        """Take a turn at reading.

        Raises:
            SearchStopped: The turn did not come, or the reading did not end, in time.
            IndexUnusable: The file is damaged.
        """
        stop_at = time.monotonic() + within_s
        if not self._turn.acquire(timeout=within_s):
            raise SearchStopped("The documentation search is busy. Ask again.")
        try:
            self._stop_at = stop_at
            yield self._connection
        except _DAMAGED as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise SearchStopped(
                    f"The search took over {within_s * 1000:.0f} ms. Ask in fewer words."
                ) from error
            raise IndexUnusable("The documentation index is damaged. Install it again.") from error
        finally:
            self._turn.release()

    def _is_late(self) -> bool:
        return time.monotonic() > self._stop_at


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _authorize(
    action: int, first: str | None, _second: str | None, _database: str | None, _trigger: str | None
) -> int:
    is_allowed = action in _ALLOWED or (action == sqlite3.SQLITE_PRAGMA and first == "data_version")
    return sqlite3.SQLITE_OK if is_allowed else sqlite3.SQLITE_DENY


def _check_layout(connection: sqlite3.Connection) -> bool:
    """Pass if the file declares what an index does, and return whether that is vectors too."""
    version = schema.version_of(connection)
    is_known = version in schema.VERSIONS
    if not is_known or schema.objects_in(connection) != schema.expected_objects(version):
        raise ValueError("its tables are others")
    connection.execute("SELECT rowid FROM words LIMIT 0")  # FTS5 sets itself up, still unwatched
    return version == schema.VERSION_WITH_VECTORS


def _check_vectors(connection: sqlite3.Connection, dimensions: int) -> None:
    """Pass if each section has one vector, and all are as long as they should be."""
    ids = connection.execute("SELECT id FROM sections ORDER BY id").fetchall()
    fitting = connection.execute(
        "SELECT section_id FROM vectors WHERE typeof(vector) = 'blob' AND length(vector) = ?"
        " ORDER BY section_id",
        (dimensions,),
    ).fetchall()
    (count,) = connection.execute("SELECT count(*) FROM vectors").fetchone()
    if fitting != ids or count != len(ids):
        raise ValueError("its vectors do not fit its sections")


def _read_facts(connection: sqlite3.Connection, *, has_vectors: bool) -> IndexFacts:
    facts: dict[str, str] = dict(connection.execute("SELECT name, value FROM facts"))
    if facts["cleaning_version"] != str(cleaning.VERSION):
        raise ValueError("its words were cleaned by other rules")
    return IndexFacts(
        gitlab_version=GitLabVersion.parse(facts["gitlab_version"]),
        url_base=facts["url_base"],
        docs_root=facts["docs_root"],
        page_count=int(facts["page_count"]),
        section_count=int(facts["section_count"]),
        encoder=EncoderIdentity(
            facts["encoder_name"], facts["encoder_sha256"], int(facts["encoder_dimensions"])
        )
        if has_vectors
        else None,
    )


def _unusable(path: Path, error: Exception) -> IndexUnusable:
    return IndexUnusable(
        f"{path.name} is not a documentation index of this release ({error}). "
        "Build it again with build_docs_index, or install another."
    )
