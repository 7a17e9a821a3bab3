"""Installing an index from a file or from the registry: nothing is searched unverified."""

import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from docsearch import schema
from docsearch.errors import (
    DowngradeRefused,
    IndexIncomplete,
    IndexMissing,
    IndexUnusable,
    ManifestInvalid,
)
from docsearch.manifest import (
    MAX_MANIFEST_BYTES,
    Manifest,
    manifest_path,
    verified_manifest,
)
from docsearch.registry import PackageRegistry
from docsearch.signing import public_text
from docsearch.store import Choice, IndexStore, Origin
from docsearch.verifying import rejected, verify_index
from docsearch.versions import GitLabVersion

_PART_BYTES = 256 * 1024

#: Told how many bytes of how many are there.
OnBytes = Callable[[int, int], None]
#: Yields an index from the given byte on.
_Source = Callable[[int], Generator[bytes, None, None]]


def _untold(_done: int, _of: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Installation:
    """What an installation came to.

    Attributes:
        manifest: Of the index that answers now.
        is_new: Whether it was not there before.
        warning: That it is of another release than the wanted one; else empty.
    """

    manifest: Manifest
    is_new: bool
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """That what is published was not installed, and why: it is what an operator did, or a replay.

    Attributes:
        version: Of the index that answers on.
        reason: For admins.
        is_suspicious: Whether it is also what somebody would do who plays back an old index.
    """

    version: GitLabVersion
    reason: str
    is_suspicious: bool = False


def sign_index(
    file: Path,
    version: GitLabVersion,
    key: Ed25519PrivateKey,
    *,
    schema_version: int = schema.VERSION,
    now: datetime,
) -> Manifest:
    """Write the signed manifest of an index beside it."""
    manifest = Manifest.of(file, version, key, schema_version=schema_version, now=now)
    manifest_path(file).write_bytes(manifest.signed(key))
    return manifest


def install_own(store: IndexStore, file: Path, key: Ed25519PrivateKey) -> Installation:
    """Install an index that was just built here and signed with our own key."""
    trusted = frozenset({public_text(key.public_key())})
    return install_file(store, file, trusted, origin=Origin.BUILT)


def install_file(
    store: IndexStore,
    file: Path,
    trusted: frozenset[str],
    *,
    allow_downgrade: bool = False,
    on_bytes: OnBytes = _untold,
    origin: Origin = Origin.FILE,
) -> Installation:
    """Install an index whose manifest lies beside it.

    Args:
        store: Of this node.
        file: The index.
        trusted: The public keys that may have signed it.
        allow_downgrade: Take it although it is older than the active one of its version.
        on_bytes: Told about the progress.
        origin: How the file came to be here.

    Raises:
        DocsIndexError: One of its leaves. The active index goes on answering.
        OSError: The disk failed.
    """
    text, manifest = read_signed(file, trusted)

    def parts(held_bytes: int) -> Generator[bytes, None, None]:
        with file.open("rb") as content:
            content.seek(held_bytes)
            while part := content.read(_PART_BYTES):
                yield part

    with store.installing():
        _require_not_older(store, manifest, allow_downgrade=allow_downgrade)
        store.partial_path(manifest).unlink(missing_ok=True)
        return _install(store, manifest, text, parts, on_bytes, origin)


def read_signed(file: Path, trusted: frozenset[str]) -> tuple[bytes, Manifest]:
    """Return the verified manifest beside an index file, and its text.

    Raises:
        IndexUnusable: There is no such file.
        ManifestInvalid: There is no manifest beside it, or it is none.
        SignatureInvalid: Nobody trusted signed it.
    """
    if not file.is_file():
        raise IndexUnusable(f"{file} is no file. Give the index that build_docs_index wrote.")
    beside = manifest_path(file)
    try:
        with beside.open("rb") as content:
            text = content.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ManifestInvalid(
            f"{beside} cannot be read ({error.strerror}). Carry it along with its index: "
            "build_docs_index writes both."
        ) from error
    return text, verified_manifest(text, trusted)


def install_published(
    store: IndexStore,
    registry: PackageRegistry,
    wanted: GitLabVersion | None,
    trusted: frozenset[str],
    *,
    allow_downgrade: bool = False,
    on_bytes: OnBytes = _untold,
) -> Installation:
    """Fetch and install the published index that answers for `wanted`; for None, the newest.

    What had come of it before a kill is not fetched again.

    Raises:
        DocsIndexError: One of its leaves. The active index goes on answering.
        OSError: The disk failed.
    """
    choice = registry.choose(wanted)
    text, manifest = _published_manifest(registry, choice.version, trusted)
    done = _install_published(
        store, registry, text, manifest, allow_downgrade=allow_downgrade, on_bytes=on_bytes
    )
    return _warned(done, wanted, choice)


def reconcile_docs_index(
    store: IndexStore,
    registry: PackageRegistry,
    wanted: GitLabVersion | None,
    trusted: frozenset[str],
    *,
    on_bytes: OnBytes = _untold,
) -> Installation | Kept:
    """Bring what is on disk in line with what is published for `wanted`, if it is not.

    What an operator did on this node stays: an index that was rolled back, which is now the
    previous one, is not installed again, and a newer one is not replaced by an older one.

    Raises:
        DocsIndexError: One of its leaves. The active index goes on answering.
        OSError: The disk failed.
    """
    choice = registry.choose(wanted)
    version = choice.version
    text, published = _published_manifest(registry, version, trusted)
    previous, active = store.previous_manifest_of(version), store.manifest_of(version)
    if active and active.created > published.created:
        return Kept(version, f"{_older(published, active)}. It is not taken.", is_suspicious=True)
    if previous and previous.sha256 == published.sha256:
        return Kept(version, "The published index was rolled back here. Another one will be taken.")
    done = _install_published(store, registry, text, published, on_bytes=on_bytes)
    return _warned(done, wanted, choice)


def _warned(done: Installation, wanted: GitLabVersion | None, choice: Choice) -> Installation:
    warning = f"No documentation of GitLab {wanted} is published; this is {choice.version}'s."
    return replace(done, warning=warning if choice.warning else "")


def _install_published(
    store: IndexStore,
    registry: PackageRegistry,
    text: bytes,
    manifest: Manifest,
    *,
    allow_downgrade: bool = False,
    on_bytes: OnBytes,
) -> Installation:
    def parts(held_bytes: int) -> Generator[bytes, None, None]:
        return registry.index_parts(manifest, held_bytes)

    with store.installing():
        _require_not_older(store, manifest, allow_downgrade=allow_downgrade)
        return _install(store, manifest, text, parts, on_bytes, Origin.REGISTRY)


def _published_manifest(
    registry: PackageRegistry, version: GitLabVersion, trusted: frozenset[str]
) -> tuple[bytes, Manifest]:
    text = registry.manifest(version)
    if text is None:
        raise IndexMissing(
            f"The package of GitLab {version}'s documentation holds no manifest. Publish it again "
            "with publish_docs_index."
        )
    manifest = verified_manifest(text, trusted)
    if manifest.version != version:
        raise ManifestInvalid(
            f"The package of GitLab {version}'s documentation holds the manifest of "
            f"{manifest.version}. Publish both again with publish_docs_index."
        )
    return text, manifest


def _require_not_older(store: IndexStore, manifest: Manifest, *, allow_downgrade: bool) -> None:
    active = store.manifest_of(manifest.version)
    if active and manifest.created < active.created and not allow_downgrade:
        raise DowngradeRefused(
            f"{_older(manifest, active)}. To go back to it, use --allow-downgrade."
        )


def _older(manifest: Manifest, active: Manifest) -> str:
    return (
        f"The index of GitLab {manifest.version}'s documentation was made on "
        f"{manifest.created:%Y-%m-%d %H:%M:%S}, the active one on "
        f"{active.created:%Y-%m-%d %H:%M:%S}"
    )


def _install(
    store: IndexStore,
    manifest: Manifest,
    text: bytes,
    source: _Source,
    on_bytes: OnBytes,
    origin: Origin,
) -> Installation:
    if store.holds(manifest):
        if store.manifest_of(manifest.version) != manifest:
            store.write_manifest(manifest, text)
        return Installation(manifest, is_new=False)
    received = store.partial_path(manifest)
    received.parent.mkdir(parents=True, exist_ok=True)
    _receive(received, manifest, source, on_bytes)
    try:
        verify_index(received, manifest)
    except BaseException:
        received.unlink()
        raise
    store.activate(received, manifest, text, origin)
    return Installation(manifest, is_new=True)


def _receive(received: Path, manifest: Manifest, source: _Source, on_bytes: OnBytes) -> None:
    """Complete `received`, and stop at the size the manifest declares."""
    with received.open("ab") as file:
        held_bytes = file.tell()
        if held_bytes < manifest.size:
            with closing(source(held_bytes)) as parts:  # a connection may be behind it
                for part in parts:
                    held_bytes += len(part)
                    if held_bytes > manifest.size:
                        received.unlink()
                        reason = f"it is longer than the {manifest.size:,} bytes due"
                        raise rejected(manifest, reason)
                    file.write(part)
                    on_bytes(held_bytes, manifest.size)
        file.flush()
        os.fsync(file.fileno())
    if held_bytes < manifest.size:
        raise IndexIncomplete(
            f"Only {held_bytes:,} of {manifest.size:,} bytes of GitLab {manifest.version}'s "
            "documentation came. Try again: the registry is asked for the rest only. A file has "
            "to be copied anew."
        )
