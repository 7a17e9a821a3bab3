"""The indexes installed on this node: one folder, one index per GitLab version in it.

Below the folder stands `<version>/index.sqlite3`, beside it its manifest and how it came here, and
the same of the index before it.
Files are replaced whole, so a search that has the old one open ends on the old one.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from docsearch.errors import (
    IndexMissing,
    IndexUnusable,
    InstallationUnderWay,
    ManifestInvalid,
    PreviousMissing,
    VersionInvalid,
)
from docsearch.index import DocsIndex
from docsearch.manifest import Manifest, manifest_path, sha256_of
from docsearch.versions import GitLabVersion

FILE_NAME = "index.sqlite3"
_PARTIAL = ".partial"


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


class Origin(StrEnum):
    """How an index came to a node."""

    BUILT = "built"
    FILE = "file"
    REGISTRY = "registry"


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
            raise IndexMissing(missing_version(wanted, installed))
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

    def path_of_manifest(self, version: GitLabVersion) -> Path:
        """Return where the manifest of the installed index of `version` is, or would be."""
        return manifest_path(self.path_of(version))

    def partial_path(self, manifest: Manifest) -> Path:
        """Return where an index is received: named by its hash, so that only the same is resumed.

        On the file system of the store, so that it can take its place in one step.
        """
        return self.path_of(manifest.version).with_name(f".{manifest.sha256}{_PARTIAL}")

    def manifest_of(self, version: GitLabVersion) -> Manifest | None:
        """Return what is known of the installed index of `version`."""
        return _read_manifest(self.path_of_manifest(version))

    def previous_manifest_of(self, version: GitLabVersion) -> Manifest | None:
        """Return what is known of the index that `rollback` would bring back."""
        return _read_manifest(manifest_path(self._previous_path(version)))

    def origin_of(self, version: GitLabVersion) -> Origin | None:
        """Return how the installed index of `version` came here, if that is known."""
        with suppress(OSError, ValueError):
            return Origin(_origin_path(self.path_of(version)).read_text(encoding="utf-8"))
        return None

    def digest_of(self, version: GitLabVersion) -> str:
        """Return what tells the installed index of `version` from others: its SHA-256."""
        manifest = self.manifest_of(version)
        return manifest.sha256 if manifest else sha256_of(self.path_of(version))

    def holds(self, manifest: Manifest) -> bool:
        """Tell whether exactly this index is installed, byte for byte."""
        with suppress(OSError):
            return sha256_of(self.path_of(manifest.version)) == manifest.sha256
        return False

    @contextmanager
    def installing(self) -> Iterator[None]:
        """Be the only one to change this store, of all processes of this node.

        Raises:
            InstallationUnderWay: Someone else is changing it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InstallationUnderWay(
                    "Another process is installing an index on this node. Try again in a minute."
                ) from None
            yield

    def activate(
        self, received: Path, manifest: Manifest, manifest_text: bytes, origin: Origin
    ) -> None:
        """Put a verified index, which lies at `partial_path`, in the place of the active one.

        The index goes first: whoever stops in between leaves a manifest that is too old, and the
        next installation puts that right.
        """
        target = self.path_of(manifest.version)
        if target.exists() and not self.holds(manifest):
            previous = self._previous_path(manifest.version)
            _link(target, previous)
            for path_beside in _BESIDE:
                if path_beside(target).exists():
                    _link(path_beside(target), path_beside(previous))
                else:
                    path_beside(previous).unlink(missing_ok=True)
        os.chmod(received, 0o644)
        os.replace(received, target)
        _write(_origin_path(target), origin.encode())
        self.write_manifest(manifest, manifest_text)
        for leftover in target.parent.glob(f".*{_PARTIAL}"):
            leftover.unlink(missing_ok=True)

    def write_manifest(self, manifest: Manifest, manifest_text: bytes) -> None:
        """Write the manifest of the active index."""
        target = self.path_of_manifest(manifest.version)
        _write(target, manifest_text)
        _sync_folder(target.parent)

    def rollback(self, version: GitLabVersion) -> None:
        """Let the active index and the one before it change places.

        Raises:
            PreviousMissing: None is kept.
            InstallationUnderWay: Someone else is changing the store.
        """
        active, previous = self.path_of(version), self._previous_path(version)
        with self.installing():
            if not (previous.exists() and active.exists()):
                raise PreviousMissing(
                    f"No previous index of GitLab {version}'s documentation is kept here. Give "
                    "--gitlab-version, or install the wanted one with --allow-downgrade."
                )
            DocsIndex(previous).close()
            _exchange(active, previous)
            for path_beside in _BESIDE:
                _exchange(path_beside(active), path_beside(previous))
            _sync_folder(active.parent)

    def _previous_path(self, version: GitLabVersion) -> Path:
        return self.path_of(version).with_name(f"previous-{FILE_NAME}")


def _origin_path(index: Path) -> Path:
    return index.with_name(f"{index.name}.origin")


#: What lies beside an index, and goes with it.
_BESIDE = (manifest_path, _origin_path)


def _read_manifest(file: Path) -> Manifest | None:
    with suppress(OSError, ManifestInvalid):
        return Manifest.parse(file.read_bytes())
    return None


def _write(file: Path, content: bytes) -> None:
    """Write a file in one step."""
    unfinished = file.with_name(f".{file.name}.new")
    with unfinished.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(unfinished, file)


def _link(file: Path, target: Path) -> None:
    """Give `file` the name `target` too, in one step."""
    unfinished = target.with_name(f".{target.name}.new")
    unfinished.unlink(missing_ok=True)
    os.link(file, unfinished)
    os.replace(unfinished, target)


def _exchange(one: Path, other: Path) -> None:
    """Let two files change names, with no moment at which `one` is missing if both are there."""
    aside = one.with_name(f".{one.name}.aside")
    aside.unlink(missing_ok=True)
    if one.exists():
        os.link(one, aside)
    if other.exists():
        os.replace(other, one)
    else:
        one.unlink(missing_ok=True)
    if aside.exists():
        os.replace(aside, other)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def missing_version(wanted: GitLabVersion | None, installed: list[GitLabVersion]) -> str:
    """Return why no index answers for a version."""
    if not installed:
        return "No documentation index is installed."
    versions = ", ".join(map(str, installed))
    return f"No documentation of GitLab {wanted} or older is installed, only of {versions}."
