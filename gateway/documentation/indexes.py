"""The documentation indexes of this node, as admins see them, and their history on all nodes."""

import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from docsearch import schema
from docsearch.errors import IndexMissing, InstallationUnderWay
from docsearch.models import ORIGINS, GoldenCheck, GoldenQuestion, InstalledIndex, RegistryLook
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from gateway.documentation.upkeep import Look

NODE = socket.gethostname()[:100]
#: Rows of the history that are shown.
SHOWN = 20
_HISTORY_KEPT = 500
#: A node says each minute what it wants; one that is silent for so long is gone.
_LOOKS_SHOWN_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index that is installed on this node.

    Attributes:
        gitlab_version: Whose documentation it is.
        index_digest: SHA-256 of the file.
        size_bytes: Of the file.
        has_vectors: Whether it can be searched by meaning too.
        made_at: When it was signed; None where its manifest is missing.
        key: The public key that signed it; "" where its manifest is missing.
        origin: How it came here; "" where that is not known.
        previous_made_at: Of the index that a rollback brings back; None if none is kept.
        golden: How it answered the golden questions; None if it was not asked them yet.
    """

    gitlab_version: str
    index_digest: str
    size_bytes: int
    has_vectors: bool
    made_at: datetime | None
    key: str
    origin: str
    previous_made_at: datetime | None
    golden: GoldenCheck | None

    @property
    def origin_text(self) -> str:
        return dict(ORIGINS).get(self.origin, "")


def installed_indexes(store: IndexStore) -> list[IndexState]:
    """Return what is installed on this node, newest version first."""
    checks = {
        check.index_digest: check
        for check in GoldenCheck.objects.current(GoldenQuestion.objects.entries())
    }
    return [_state_of(store, version, checks) for version in reversed(store.installed())]


def _state_of(
    store: IndexStore, version: GitLabVersion, checks: dict[str, GoldenCheck]
) -> IndexState:
    manifest, previous = store.manifest_of(version), store.previous_manifest_of(version)
    digest = store.digest_of(version)
    return IndexState(
        gitlab_version=str(version),
        index_digest=digest,
        size_bytes=store.path_of(version).stat().st_size,
        has_vectors=bool(manifest and manifest.schema == schema.VERSION_WITH_VECTORS),
        made_at=manifest.created if manifest else None,
        key=manifest.key if manifest else "",
        origin=store.origin_of(version) or "",
        previous_made_at=previous.created if previous else None,
        golden=checks.get(digest),
    )


def recent_looks() -> Iterable[RegistryLook]:
    """Return how the nodes' last looks in the package registry went."""
    return RegistryLook.objects.filter(looked_at__gte=timezone.now() - _LOOKS_SHOWN_FOR)


def history() -> Iterable[InstalledIndex]:
    """Return what was installed where, newest first."""
    return InstalledIndex.objects.all()[:SHOWN]


def record_look(look: Look) -> None:
    """Store how a look of this node goes."""
    fields = {"state": look.state, "looked_at": timezone.now()}
    if look.state != RegistryLook.State.LOOKING:  # keep what is shown until something is known
        fields |= asdict(look) | {"message": look.message[:500]}
    RegistryLook.objects.update_or_create(node=NODE, wanted=look.wanted, defaults=fields)


def note_installed(store: IndexStore) -> None:
    """Add to the history what is on this node and was not the last time; whoever put it there.

    Of the workers on a node one does it; what cannot be noted now is noted at the next look.
    """
    if _unnoted(store):
        with suppress(InstallationUnderWay), store.installing():
            _note(store)


def _unnoted(store: IndexStore) -> list[GitLabVersion]:
    return [
        version
        for version in store.installed()
        if InstalledIndex.objects.newest_digest(NODE, version) != store.digest_of(version)
    ]


def _note(store: IndexStore) -> None:
    for version in _unnoted(store):
        digest, manifest = store.digest_of(version), store.manifest_of(version)
        InstalledIndex.objects.create(
            node=NODE,
            gitlab_version=str(version),
            index_digest=digest,
            size_bytes=store.path_of(version).stat().st_size,
            made_at=manifest.created if manifest else None,
            key=manifest.key[:100] if manifest else "",
            origin=store.origin_of(version) or "",
        )
        old = InstalledIndex.objects.values_list("pk", flat=True)[_HISTORY_KEPT:]
        InstalledIndex.objects.filter(pk__in=[*old]).delete()


def roll_back(store: IndexStore, version: GitLabVersion) -> None:
    """Let an index and the one before it change places on this node.

    Raises:
        IndexMissing: There is none of that version.
        PreviousMissing: None is kept.
        InstallationUnderWay: Another process is installing one.
    """
    if version not in store.installed():
        raise IndexMissing(f"No index of GitLab {version}'s documentation is installed here.")
    store.rollback(version)
    note_installed(store)
