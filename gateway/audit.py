"""The audit trail: who did what, when, from where; each record covers the one before it.

A record is written in the transaction of what it tells of: what cannot be recorded is not done.
"""

import getpass
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

from django.db import OperationalError, connection, transaction
from django.http import HttpRequest
from django.utils import timezone

from gateway.configuration.document import digest_of
from gateway.configuration.errors import HistoryBusy
from gateway.exchange import sent_request_id
from gateway.models import AuditRecord, Revision

#: Of the advisory lock on PostgreSQL: any number that nothing else uses.
LOCK_ID = 0x68697374
_FIRST_HASH = "0" * 64
#: A head as `verify` returns it.
HEAD = re.compile(r"\d{1,18}:[0-9a-f]{64}")
#: Columns that the hash of a record covers.
_HASHED = tuple(
    field.attname for field in AuditRecord._meta.concrete_fields if field.attname != "hash"
)
_JSON = json.JSONEncoder(sort_keys=True)
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]+")
UNKNOWN_AUTHOR = "unknown"


class Origin(StrEnum):
    """The way a change came."""

    WEB = "web"
    REST = "rest"
    FILE = "file"
    COMMAND = "command"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who does something, and from where.

    Attributes:
        author: A user's name, or that of a token.
        source_address: The IP address it came from; None where there is none.
        request_id: The id of the HTTP request; empty where there is none.
    """

    author: str
    origin: Origin
    reason: str = ""
    source_address: str | None = None
    request_id: str = ""

    def columns(self) -> dict[str, Any]:
        """Return what both tables of the history store of it."""
        return {
            "created_at": timezone.now(),
            "author": _line(self.author, 150) or UNKNOWN_AUTHOR,
            "origin": self.origin.value,
            "reason": _line(self.reason, 500),
        }


def attribution_of_request(request: HttpRequest, origin: Origin, reason: str = "") -> Attribution:
    """Return who sent a request to a page or to the REST API."""
    address = request.META.get("REMOTE_ADDR", "")
    return Attribution(
        author=request.user.get_username(),
        origin=origin,
        reason=reason,
        source_address=address if _is_address(address) else None,
        request_id=sent_request_id(request.headers),
    )


def system_user() -> str:
    """Return who runs a command; a container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _is_address(text: str) -> bool:
    """Tell an IP address from what a server behind a Unix socket says."""
    with suppress(ValueError):
        return bool(ip_address(text))
    return False


def _line(text: str, max_chars: int) -> str:
    return _CONTROL_CHARACTERS.sub(" ", text).strip()[:max_chars]


def lock_history() -> None:
    """Wait for our turn to append to the history; ours until the transaction ends.

    On SQLite every transaction has the whole database to itself from its start.

    Raises:
        HistoryBusy: Another transaction has its turn and does not end.
    """
    if connection.vendor != "postgresql":
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_ID])
    except OperationalError as error:
        raise HistoryBusy(
            "Another change of the configuration is being saved and takes long. Nothing of this "
            "one was saved: try again."
        ) from error


def record(
    attribution: Attribution,
    action: str,
    *,
    object_id: str = "",
    object_name: str = "",
    changes: Mapping[str, tuple[Any, Any]] | None = None,
    revision: Revision | None = None,
) -> AuditRecord:
    """Append a record to the trail.

    Args:
        attribution: Who did it.
        action: What was done, as in `deployment.changed` or `login.failed`.
        object_id: A surrogate id of what it was done to; never a secret.
        object_name: What people call it.
        changes: Old and new value of each field; secrets as fingerprints.
        revision: The configuration it led to.
    """
    with transaction.atomic():
        lock_history()
        last = AuditRecord.objects.order_by("-number").first()
        row = AuditRecord(
            number=last.number + 1 if last else 1,
            **attribution.columns(),
            source_address=attribution.source_address,
            request_id=_line(attribution.request_id, 128),
            action=action,
            object_id=object_id,
            object_name=_line(object_name, 150),
            changes={name: list(pair) for name, pair in (changes or {}).items()},
            revision=revision,
            previous_hash=last.hash if last else _FIRST_HASH,
        )
        row.hash = _hash_of(
            {name: getattr(row, name) for name in _HASHED}, revision.digest if revision else ""
        )
        row.save()
    return row


def _hash_of(values: dict[str, Any], revision_digest: str) -> str:
    """Return the hash of all columns, that of the record before among them."""
    at = values["created_at"].astimezone(UTC).isoformat()
    told = values | {"created_at": at, "revision_digest": revision_digest}
    return hashlib.sha256(_JSON.encode(told).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verification:
    """What a look through the whole history found.

    Attributes:
        records: How many records there are.
        revisions: How many revisions there are.
        head: `NUMBER:HASH` of the newest record. Kept elsewhere, it proves later that nothing up to
            it was rewritten or cut off.
        problems: What is wrong, oldest first; empty if nothing is.
    """

    records: int
    revisions: int
    head: str
    problems: tuple[str, ...]


def verify(known_head: str = "") -> Verification:
    """Check every record and revision.

    Args:
        known_head: A head that was noted before; the record must still be there as it was.
    """
    records = 0
    problems = [*_revision_problems()]
    known_number, _, known_hash = known_head.partition(":")
    last_number, last_hash = 0, _FIRST_HASH
    # Values, not models, and no documents of revisions: there may be a hundred thousand.
    rows = AuditRecord.objects.order_by("number").values_list(*_HASHED, "hash", "revision__digest")
    for *told, own_hash, revision_digest in rows.iterator(1000):
        records += 1
        values = dict(zip(_HASHED, told, strict=True))
        number = values["number"]
        if number != last_number + 1:
            problems.append(f"Record {number}: {last_number + 1} is missing before it.")
        elif values["previous_hash"] != last_hash:
            problems.append(f"Record {number}: does not follow from the record before it.")
        if own_hash != _hash_of(values, revision_digest or ""):
            problems.append(f"Record {number}: was changed after it was written.")
        if str(number) == known_number and own_hash != known_hash:
            problems.append(f"Record {number}: is not the one that was noted.")
        last_number, last_hash = number, own_hash
    if known_number and int(known_number) > last_number:
        problems.append(f"Record {known_number}: was noted and is missing.")
    head = f"{last_number}:{last_hash}"
    return Verification(records, Revision.objects.count(), head, tuple(problems))


def _revision_problems() -> Iterator[str]:
    expected = 1
    for row in Revision.objects.order_by("number").iterator(100):
        if row.number != expected:
            yield f"Revision {row.number}: {expected} is missing before it."
        if row.digest != digest_of(row.document):
            yield f"Revision {row.number}: was changed after it was written."
        expected = row.number + 1
