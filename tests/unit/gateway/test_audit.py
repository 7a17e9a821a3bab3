from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, connection, transaction
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from gateway.audit import Attribution, Origin, attribution_of_request, record, verify
from gateway.models import AppendOnly, AuditRecord, Revision
from tests.factories import make_admin, make_deployment

pytestmark = pytest.mark.django_db

ALICE = Attribution("alice", Origin.WEB, "why", "10.0.0.9", "req-1")


def rewrite(table: str, column: str, value: Any, number: int) -> None:
    """Change a row as only SQL can; the triggers are off in tests."""
    statement = f"UPDATE {table} SET {column} = %s WHERE number = %s"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [value, number])


def remove(table: str, number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE number = %s", [number])  # noqa: S608


# --- Recording -----------------------------------------------------------------------------------


def test_record_says_who_did_what_when_and_from_where() -> None:
    record(
        ALICE,
        "login.failed",
        object_id="17",
        object_name="bob",
        changes={"attempts": (4, 5)},
    )

    row = AuditRecord.objects.get()
    assert (row.number, row.author, row.origin, row.reason) == (1, "alice", "web", "why")
    assert (row.source_address, row.request_id) == ("10.0.0.9", "req-1")
    assert (row.action, row.object_id, row.object_name) == ("login.failed", "17", "bob")
    assert row.changes == {"attempts": [4, 5]}
    assert row.created_at.utcoffset() is not None


def test_text_from_outside_is_one_bounded_line() -> None:
    record(Attribution("a\0b\n" + "x" * 200, Origin.COMMAND, "one\ntwo" + "y" * 600), "a.b")

    row = AuditRecord.objects.get()
    assert row.author.startswith("a b xxx")
    assert (len(row.author), len(row.reason)) == (150, 500)
    assert row.reason.startswith("one two")


def test_empty_author_is_unknown() -> None:
    assert record(Attribution("\n", Origin.COMMAND), "a.b").author == "unknown"


@pytest.mark.parametrize(
    ("address", "expected"), [("10.0.0.9", "10.0.0.9"), ("::1", "::1"), ("", None), ("unix:", None)]
)
def test_request_is_attributed_to_its_user(address: str, expected: str | None) -> None:
    request = RequestFactory().post("/", REMOTE_ADDR=address, headers={"X-Request-ID": "req-7"})
    request.user = make_admin(username="alice")

    attribution = attribution_of_request(request, Origin.REST, "why")

    assert attribution == Attribution("alice", Origin.REST, "why", expected, "req-7")


def test_malformed_request_id_is_left_out() -> None:
    request = RequestFactory().post("/", headers={"X-Request-ID": "a b"})
    request.user = AnonymousUser()

    assert attribution_of_request(request, Origin.WEB).request_id == ""


# --- Append-only ---------------------------------------------------------------------------------

REWRITES: dict[str, Callable[[], object]] = {
    "save": lambda: AuditRecord.objects.get().save(),
    "delete": lambda: AuditRecord.objects.get().delete(),
    "update": lambda: AuditRecord.objects.update(author="eve"),
    "delete many": lambda: AuditRecord.objects.filter(number=1).delete(),
    "update many": lambda: AuditRecord.objects.bulk_update([AuditRecord.objects.get()], ["author"]),
    "save a revision": lambda: Revision.objects.get().save(),
    "delete a revision": lambda: Revision.objects.get().delete(),
    "update revisions": lambda: Revision.objects.update(author="eve"),
    "delete revisions": lambda: Revision.objects.all().delete(),
}


@pytest.mark.parametrize("rewrite_history", REWRITES.values(), ids=REWRITES)
def test_rows_are_neither_changed_nor_deleted(rewrite_history: Callable[[], object]) -> None:
    make_deployment()

    with pytest.raises(AppendOnly):
        rewrite_history()

    assert (AuditRecord.objects.get().author, Revision.objects.get().author) == ("unknown",) * 2


def test_number_that_is_taken_is_not_written_over() -> None:
    first = record(ALICE, "a.b")
    again = AuditRecord(number=first.number, created_at=first.created_at)

    with pytest.raises(IntegrityError), transaction.atomic():
        again.save()


@pytest.mark.parametrize("table", ["gateway_auditrecord", "gateway_revision"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET author = 'eve'", "DELETE FROM {}"])
def test_database_itself_refuses(table: str, statement: str, django_db_setup: list[str]) -> None:
    make_deployment()
    with connection.cursor() as cursor:
        for trigger in django_db_setup:
            cursor.execute(trigger)

        with pytest.raises(IntegrityError, match="is append-only"), transaction.atomic():
            cursor.execute(statement.format(table))


# --- Verifying -----------------------------------------------------------------------------------


def test_whole_chain_verifies() -> None:
    for number in range(3):
        make_deployment(name=f"gpu{number}", total_timeout_s=30.5)
    last = record(ALICE, "login", changes={"é": (None, [1.5, {"b": 1, "a": 2}])})

    found = verify()

    assert found.problems == ()
    assert (found.records, found.revisions) == (4, 3)
    assert found.head == f"4:{last.hash}"


def test_long_history_is_read_in_one_go_without_the_documents_of_its_revisions() -> None:
    for number in range(3):
        make_deployment(name=f"gpu{number}")

    with CaptureQueriesContext(connection) as queries:
        verify()

    (of_records,) = (
        query["sql"] for query in queries if 'FROM "gateway_auditrecord"' in query["sql"]
    )
    assert '"document"' not in of_records


def test_empty_history_verifies() -> None:
    assert verify().problems == ()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("author", "eve"),
        ("created_at", "2020-01-01 00:00:00"),
        ("changes", '{"a": [1, 2]}'),
        ("object_id", "other"),
        ("source_address", "10.0.0.1"),
        ("revision_id", None),
        ("hash", "0" * 64),
    ],
)
def test_changed_record_is_found(column: str, value: Any) -> None:
    make_deployment()
    record(ALICE, "a.b")

    rewrite("gateway_auditrecord", column, value, 1)

    assert verify().problems[0] == "Record 1: was changed after it was written."


def test_record_rewritten_with_a_hash_of_its_own_breaks_the_chain() -> None:
    first, second = record(ALICE, "a.b"), record(ALICE, "a.c")
    rewrite("gateway_auditrecord", "hash", second.hash, first.number)

    assert "Record 2: does not follow from the record before it." in verify().problems


def test_missing_record_is_found() -> None:
    for _ in range(3):
        record(ALICE, "a.b")

    remove("gateway_auditrecord", 2)

    assert verify().problems == ("Record 3: 2 is missing before it.",)


def test_records_cut_off_the_end_are_found_by_a_noted_head() -> None:
    for _ in range(2):
        record(ALICE, "a.b")
    noted = verify().head

    remove("gateway_auditrecord", 2)

    assert verify().problems == ()
    assert verify(noted).problems == ("Record 2: was noted and is missing.",)


def test_history_written_anew_is_found_by_a_noted_head() -> None:
    record(ALICE, "a.b")
    noted = verify().head
    remove("gateway_auditrecord", 1)
    record(ALICE, "a.c")

    assert verify().problems == ()
    assert verify(noted).problems == ("Record 1: is not the one that was noted.",)


def test_noted_head_that_still_stands_is_good() -> None:
    record(ALICE, "a.b")
    noted = verify().head
    record(ALICE, "a.c")

    assert verify(noted).problems == ()


def test_changed_and_missing_revisions_are_found() -> None:
    for _ in range(3):
        make_deployment()
    rewrite("gateway_revision", "document", "{}", 1)
    rewrite("gateway_auditrecord", "revision_id", None, 2)
    remove("gateway_revision", 2)

    problems = verify().problems

    assert problems[:2] == (
        "Revision 1: was changed after it was written.",
        "Revision 3: 2 is missing before it.",
    )
