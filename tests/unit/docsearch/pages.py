"""Documentation made for one test."""

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from docsearch import schema
from docsearch.builder import build_index
from docsearch.encoding import Encoder
from docsearch.installing import install_own, sign_index
from docsearch.signing import public_text
from docsearch.source import Source, SourceFile
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion

KEY = Ed25519PrivateKey.generate()
TRUSTED = frozenset({public_text(KEY.public_key())})
NOW = datetime(2026, 5, 1, tzinfo=UTC)

#: Questions that are none: no surface may answer them with an error.
ODD = [
    "",
    " \n\t",
    "?",
    "a",
    "AND",
    "OR NOT",
    "NEAR(",
    'AND OR NOT NEAR * " ( )',
    "title : secret",
    "^board + -board board*",
    '"',
    "'; DROP TABLE pages; --",
    "\0",
    "board\0board",
    "🦊 🦊",
    "イシューボードの作り方",
    "\ud800",
    "e\u0301" * 50,
    "word " * 200_000,
    "x" * 1_000_000,
    "(" * 1_000_000,
    "the " * 50,
]


def source_of(**pages: str) -> Source:
    """Return a source whose pages are `doc/<name>.md`."""
    files = (SourceFile(f"doc/{name}.md", text) for name, text in sorted(pages.items()))
    return Source(tuple(files), "doc/")


def build(
    folder: Path, encoder: Encoder | None = None, /, *, version: str = "17.4.0", **pages: str
) -> Path:
    """Build an index of `pages` in `folder`, with vectors of `encoder`, and return its file."""
    file = folder / f"docs-{version}.sqlite3"
    build_index(source_of(**pages), file, version=GitLabVersion.parse(version), encoder=encoder)
    return file


def signed(folder: Path, *, version: str = "17.4.0", now: datetime = NOW, **pages: str) -> Path:
    """Build an index of `pages` in `folder`, with its manifest beside it."""
    file = build(folder, version=version, **pages)
    sign_index(file, GitLabVersion.parse(version), KEY, now=now)
    return file


def install(
    store: IndexStore,
    folder: Path,
    encoder: Encoder | None = None,
    /,
    *,
    version: str = "17.4.0",
    **pages: str,
) -> None:
    """Build an index of `pages` in `folder` and install it."""
    file = build(folder, encoder, version=version, **pages)
    form = schema.VERSION_WITH_VECTORS if encoder else schema.VERSION
    sign_index(file, GitLabVersion.parse(version), KEY, schema_version=form, now=NOW)
    install_own(store, file, KEY)
