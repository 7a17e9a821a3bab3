"""Reading GitLab's documentation: a folder, a Git checkout, or an archive as GitLab serves it.

Archives are read in memory, member by member; nothing is ever unpacked to disk. The limits refuse
archives made to exhaust the reader, and leave room for GitLab's whole repository.
"""

import gzip
import io
import os
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from docsearch.errors import SourceInvalid

MAX_PAGES = 20_000
MAX_PAGE_BYTES = 2 * 1024 * 1024
MAX_TEXT_BYTES = 256 * 1024 * 1024
#: Text packs to a quarter, and folders of tiny pages to a twentieth.
MAX_PACKING_RATIO = 100
MIN_UNPACKED_LIMIT_BYTES = 16 * 1024 * 1024
MAX_UNPACKED_BYTES = 4 * 1024 * 1024 * 1024

#: Where a checkout of GitLab, or of its sibling projects, keeps its documentation.
DOCS_FOLDERS = ("doc", "docs")

_UNREADABLE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One page of Markdown; `path` is below the source, with forward slashes."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """The pages found, sorted by path.

    Attributes:
        docs_root: What their paths have in common and GitLab leaves out, such as "doc/"; may be "".
    """

    files: tuple[SourceFile, ...]
    docs_root: str


def read_source(path: Path) -> Source:
    """Read every page of Markdown in `path`.

    If there is a folder `doc` or `docs` at the top, only the pages in it count.

    Raises:
        SourceInvalid: There is no such file, no page in it, or it is over a limit.
    """
    try:
        if path.is_dir():
            pages = _choose(_in_folder(path))
        elif zipfile.is_zipfile(path):
            pages = _choose(_without_top_folder(_in_zip(path)))
        elif path.is_file():
            pages = _choose(_without_top_folder(_in_tar(path)))
        else:
            raise SourceInvalid(f"{path} does not exist. Give a folder, a .zip or a .tar.gz.")
    except _UNREADABLE as error:
        raise SourceInvalid(
            f"{path} cannot be read as a .zip or .tar.gz ({error or 'it ends too early'}). "
            "Download it again, or give the unpacked folder."
        ) from error
    except OSError as error:
        raise SourceInvalid(f"{path} cannot be read: {error.strerror or error}.") from error
    root, raw = pages
    if not raw:
        raise SourceInvalid(f"{path} holds no .md file. Give GitLab's documentation, such as doc/.")
    files = (SourceFile(name, raw[name].decode(errors="replace")) for name in sorted(raw))
    return Source(files=tuple(files), docs_root=root)


class _Pages:
    """The pages gathered so far, within the limits."""

    def __init__(self) -> None:
        self.by_path: dict[str, bytes] = {}
        self._text_bytes = 0

    def add(self, path: PurePosixPath, page: IO[bytes]) -> None:
        """Take a page; what is over the limit for one page is a limit for all."""
        text = page.read(MAX_PAGE_BYTES + 1)
        self._text_bytes += len(text)
        if len(text) > MAX_PAGE_BYTES:
            raise SourceInvalid(f"{path} is over {MAX_PAGE_BYTES:,} bytes, too large for a page.")
        if len(self.by_path) >= MAX_PAGES or self._text_bytes > MAX_TEXT_BYTES:
            raise SourceInvalid(
                f"There are over {MAX_PAGES:,} pages or {MAX_TEXT_BYTES:,} bytes of text. "
                "Give only the folder with the documentation."
            )
        name = str(path).encode(errors="replace").decode()  # a file name need not be UTF-8
        self.by_path[name] = text


def _is_page(path: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") or part == "node_modules" for part in path.parts)
    return path.suffix == ".md" and not hidden


def _in_folder(folder: Path) -> dict[str, bytes]:
    pages = _Pages()
    for place, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if _is_page(PurePosixPath(name, "a.md"))]
        for name in names:
            file = Path(place, name)
            path = PurePosixPath(file.relative_to(folder).as_posix())
            if _is_page(path) and file.is_file() and not file.is_symlink():
                with file.open("rb") as page:
                    pages.add(path, page)
    return pages.by_path


def _in_zip(file: Path) -> dict[str, bytes]:
    pages = _Pages()
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            path = _inside(member.filename)
            if not member.is_dir() and _is_page(path):
                with archive.open(member) as page:
                    pages.add(path, page)
    return pages.by_path


def _in_tar(file: Path) -> dict[str, bytes]:
    pages = _Pages()
    limit = max(MIN_UNPACKED_LIMIT_BYTES, MAX_PACKING_RATIO * file.stat().st_size)
    with gzip.open(file) as unpacked:
        capped = _Capped(unpacked, min(limit, MAX_UNPACKED_BYTES))
        with tarfile.open(fileobj=capped, mode="r|") as archive:
            for member in archive:
                path = _inside(member.name)
                if member.isreg() and _is_page(path) and (page := archive.extractfile(member)):
                    pages.add(path, page)
    return pages.by_path


class _Capped(io.RawIOBase):
    """Reads on until more was unpacked than documentation ever is."""

    def __init__(self, unpacked: gzip.GzipFile, limit_bytes: int) -> None:
        self._unpacked = unpacked
        self._left_bytes = limit_bytes

    def read(self, size: int = -1) -> bytes:
        data = self._unpacked.read(size)
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise SourceInvalid("The archive unpacks to far more than documentation would.")
        return data


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise SourceInvalid(
            f"The archive holds {name[:100]!r}, a path outside itself: GitLab made no such archive."
        )
    return path


def _choose(pages: dict[str, bytes]) -> tuple[str, dict[str, bytes]]:
    for folder in DOCS_FOLDERS:
        inside = {path: page for path, page in pages.items() if path.startswith(f"{folder}/")}
        if inside:
            return f"{folder}/", inside
    return "", pages


def _without_top_folder(pages: dict[str, bytes]) -> dict[str, bytes]:
    """GitLab puts an archive into one folder named after project and version."""
    tops = {path.split("/", 1)[0] for path in pages}
    if len(tops) == 1 and not tops & set(DOCS_FOLDERS) and all("/" in path for path in pages):
        return {path.split("/", 1)[1]: page for path, page in pages.items()}
    return pages
