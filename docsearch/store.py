"""The indexes installed on this node: one folder, one index per GitLab version in it.

Below the folder stands `<version>/index.sqlite3`. Files are replaced whole, so a search that has
the old one open ends on the old one.
"""

import os
import shutil
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from docsearch.errors import IndexMissing, IndexUnusable, VersionInvalid
from docsearch.index import DocsIndex
from docsearch.versions import GitLabVersion

FILE_NAME = "index.sqlite3"


@dataclass(frozen=True, slots=True)
class Choice:
    """The installed version that answers for a wanted one; `warning` when it is another minor."""

    version: GitLabVersion
    warning: str = ""


def choose_version(wanted: GitLabVersion | None, installed: list[GitLabVersion]) -> Choice | None:
    """Return the version that answers for `wanted`; for None, the newest.

    The same version; else the nearest lower patch; else, with a warning, the nearest lower release.
    Never a newer one: it documents what the instance does not have.
    """
    if wanted is None:
        return Choice(max(installed)) if installed else None
    not_newer = [version for version in installed if version <= wanted]
    if not not_newer:
        return None
    chosen = max(not_newer)
    if (chosen.major, chosen.minor) == (wanted.major, wanted.minor):
        return Choice(chosen)
    return Choice(chosen, f"No documentation of GitLab {wanted} is installed; this is {chosen}'s.")


class IndexStore:
    """The installed indexes; opened when first searched, and again when their file was replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._open: dict[GitLabVersion, tuple[tuple[int, int], DocsIndex]] = {}
        self._replaced: dict[GitLabVersion, DocsIndex] = {}

    @classmethod
    def below(cls, data_dir: Path) -> Self:
        """Return the store in a node's data folder."""
        return cls(data_dir / "docs")

    def installed(self) -> list[GitLabVersion]:
        """Return the versions there is an index of, lowest first."""
        versions = []
        for file in self.folder.glob(f"*/{FILE_NAME}"):
            with suppress(VersionInvalid):
                versions.append(GitLabVersion.parse(file.parent.name))
        return sorted(versions)

    def path_of(self, version: GitLabVersion) -> Path:
        """Return where the index of `version` is, or would be."""
        return self.folder / str(version) / FILE_NAME

    def open(self, wanted: GitLabVersion | None) -> tuple[DocsIndex, Choice]:
        """Return the open index that answers for `wanted`, and why it is that one.

        Raises:
            IndexMissing: None does.
            IndexUnusable: The one that should cannot be searched.
        """
        installed = self.installed()
        choice = choose_version(wanted, installed)
        if choice is None:
            raise IndexMissing(_missing(wanted, installed))
        file = self.path_of(choice.version)
        try:
            status = file.stat()
        except OSError as error:
            raise IndexUnusable(f"{file} cannot be read: {error.strerror}.") from error
        identity = (status.st_ino, status.st_mtime_ns)
        with self._lock:
            known = self._open.get(choice.version)
            if known is None or known[0] != identity:
                opened = (identity, DocsIndex(file))
                if known:
                    self._retire(choice.version, known[1])
                known = self._open[choice.version] = opened
        return known[1], choice

    def _retire(self, version: GitLabVersion, index: DocsIndex) -> None:
        """Close an index at the next replacement only: a search may be about to begin on it."""
        if before := self._replaced.get(version):
            before.close()
        self._replaced[version] = index

    def close(self) -> None:
        """Close every open index; searches under way end first."""
        with self._lock:
            for index in [*self._replaced.values(), *(index for _, index in self._open.values())]:
                index.close()
            self._replaced.clear()
            self._open.clear()

    def install(self, file: Path) -> GitLabVersion:
        """Copy an index file into the store, in one step, and return its version.

        Raises:
            IndexUnusable: It is no index of this release.
        """
        index = DocsIndex(file)
        version = index.facts.gitlab_version
        index.close()
        target = self.path_of(version)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=target.parent, prefix=f".{FILE_NAME}.")
        try:
            with open(handle, "wb") as copy, file.open("rb") as original:
                shutil.copyfileobj(original, copy)
                copy.flush()
                os.fsync(copy.fileno())
            os.chmod(unfinished, 0o644)
            os.replace(unfinished, target)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
        return version


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _missing(wanted: GitLabVersion | None, installed: list[GitLabVersion]) -> str:
    if not installed:
        return "No documentation index is installed."
    versions = ", ".join(map(str, installed))
    return f"No documentation of GitLab {wanted} or older is installed, only of {versions}."
