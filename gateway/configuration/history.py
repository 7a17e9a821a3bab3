"""Revisions: every change of the configuration, by any way, as an immutable document.

`changing_configuration` is the way to change it. It compares the rows before and after, so it does
not matter how they were written in between. What was written outside of it is found too: a save or
delete by a signal, in its own transaction; anything else before the next change is recorded. Such
a revision has the origin `unknown`.
"""

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from gateway.audit import UNKNOWN_AUTHOR, Attribution, Origin, lock_history, record
from gateway.configuration.document import Data, Document
from gateway.configuration.errors import ChangeConflict, RevisionUnknown
from gateway.configuration.planning import Change, Kind, difference
from gateway.configuration.stored import StoredConfiguration, read_configuration
from gateway.models import Revision

_UNATTRIBUTED = Attribution(
    UNKNOWN_AUTHOR, Origin.UNKNOWN, "Changed outside of the pages, the API and the commands."
)
_is_recording: ContextVar[bool] = ContextVar("is_recording", default=False)


@dataclass(slots=True)
class Recording:
    """What a change came to; filled in when its block ends.

    Attributes:
        changes: What is different; empty if nothing is.
        revision: The revision it made; None if nothing changed.
    """

    changes: tuple[Change, ...] = ()
    revision: Revision | None = None


@contextmanager
def changing_configuration(attribution: Attribution) -> Iterator[Recording]:
    """Make what the block does one change: a transaction, one revision, its audit records.

    One change at a time; a block inside a block is refused. An error in the block, or in recording
    it, leaves nothing behind.

    Raises:
        HistoryBusy: Another change does not end.
    """
    if _is_recording.get():
        raise RuntimeError("A change of the configuration is being recorded already.")
    with transaction.atomic():
        lock_history()
        before = read_configuration()
        _record_unattributed(before)
        recording = Recording()
        token = _is_recording.set(True)
        try:
            yield recording
        finally:
            _is_recording.reset(token)
        after = read_configuration()
        renamed = _renamed(before, after)
        recording.changes = difference(
            before.document().to_data(), after.document().to_data(), renamed=renamed
        )
        if recording.changes:
            recording.revision = _append(after.document(), attribution)
            _audit(attribution, recording, _ids(before) | _ids(after))


def record_unattributed_change(**_: Any) -> None:
    """Record what a save or delete outside of a block changed; a receiver of model signals."""
    if not _is_recording.get():
        with transaction.atomic():
            lock_history()
            _record_unattributed(read_configuration())


def _record_unattributed(stored: StoredConfiguration) -> None:
    """Make a revision of what the newest one does not say."""
    document = stored.document()
    newest = newest_revision()
    if document.digest() == _digest(newest):
        return
    before = newest.document if newest else Document().to_data()
    recording = Recording(difference(before, document.to_data()))
    recording.revision = _append(document, _UNATTRIBUTED)
    _audit(_UNATTRIBUTED, recording, _ids(stored))


def _digest(revision: Revision | None) -> str:
    """Return the digest of a revision; before the first, that of nothing."""
    return revision.digest if revision else Document().digest()


def _append(document: Document, attribution: Attribution) -> Revision:
    newest = newest_revision()
    revision = Revision(
        number=newest.number + 1 if newest else 1,
        digest=document.digest(),
        document=document.to_data(),
        **attribution.columns(),
    )
    revision.save()
    return revision


def _audit(attribution: Attribution, recording: Recording, ids: Mapping[str, UUID]) -> None:
    for change in recording.changes:
        is_feature = change.kind is Kind.FEATURE
        record(
            attribution,
            f"{change.kind}.{change.action}",
            object_id=change.name if is_feature else str(ids.get(change.name, "")),
            object_name=change.name,
            changes=change.fields,
            revision=recording.revision,
        )


def _ids(stored: StoredConfiguration) -> dict[str, UUID]:
    return {row.name: row.pk for row in stored.deployments}


def _renamed(before: StoredConfiguration, after: StoredConfiguration) -> dict[str, str]:
    """Return the new names of deployments by their old ones."""
    names = {row.pk: row.name for row in after.deployments}
    renamed = {row.name: names[row.pk] for row in before.deployments if row.pk in names}
    gone = {row.name for row in before.deployments if row.pk not in names}
    if gone & set(renamed.values()):  # a name was taken over: told as removed and added
        return {}
    return {old: new for old, new in renamed.items() if old != new}


# --- Looking back ---------------------------------------------------------------------------------


def newest_revision() -> Revision | None:
    return Revision.objects.order_by("-number").first()


def newest_number() -> int:
    """Return the number of the newest revision; 0 before the first."""
    newest = newest_revision()
    return newest.number if newest else 0


def check_newest(seen: Container[str]) -> None:
    """Pass if no revision was made since the caller looked. Call within a transaction.

    Args:
        seen: Numbers of revisions, one of which was the newest.

    Raises:
        ChangeConflict: It is not; the message says who made the newest.
    """
    lock_history()
    newest = newest_revision()
    if newest is None or str(newest.number) in seen:
        return
    at = f"{newest.created_at:%Y-%m-%d %H:%M:%S} UTC"
    raise ChangeConflict(
        f"{newest.author} made revision {newest.number} ({newest.origin}, {at}) after you looked, "
        "and nothing of yours was changed. Look at what going back would change now."
    )


def revision_of(number: int) -> Revision:
    """Return one revision.

    Raises:
        RevisionUnknown: There is none of that number.
    """
    found: Revision | None = Revision.objects.filter(number=number).first()
    if found is None:
        newest = newest_revision()
        there_is = f"There are 1 to {newest.number}." if newest else "There is none yet."
        raise RevisionUnknown(f"There is no revision {number}. {there_is}")
    return found


def has_unattributed_change() -> bool:
    """Tell whether what is stored is not what the newest revision says."""
    return read_configuration().document().digest() != _digest(newest_revision())


def stored_data() -> Data:
    """Return the configuration as it is stored now, as data."""
    return read_configuration().document().to_data()
