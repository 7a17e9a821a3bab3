"""The page of the audit trail: searched, taken along, verified."""

import csv
import io
import json
import re
from typing import Any

import pytest
from django.test import Client

from gateway.audit import Attribution, Origin, record
from gateway.configuration.history import changing_configuration
from gateway.models import AuditRecord
from gateway.roles import SECURITY_OFFICER
from selfhosted_models.models import ModelDeployment
from tests.factories import make_deployment
from tests.unit.gateway.browsing import client_of, queries_of, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

AUDIT = "/admin/audit/"
BOB = Attribution("bob", Origin.REST, source_address="10.0.4.7", request_id="req-1")
KEY = "sk-canary-0123456789abcdef"


@pytest.fixture
def officer() -> Client:
    return client_of(SECURITY_OFFICER)


def numbers(answer: Any) -> list[str]:
    return re.findall(r'<th scope="row">(\d+)</th>', answer.content.decode())


def test_records_say_who_what_when_from_where_and_old_to_new(officer: Client) -> None:
    with changing_configuration(BOB):
        make_deployment(name="gpu1", api_key=KEY)
    with changing_configuration(BOB):
        deployment = ModelDeployment.objects.get()
        deployment.set_api_key("sk-another-0123456789abcdef")
        deployment.context_tokens = 4096
        deployment.save()

    page = officer.get(AUDIT)

    assert re.search(r"bob rest, 10\.0\.4\.7 deployment\.changed gpu1 Revision 2", text_of(page))
    assert "context_tokens 4096" in text_of(page)
    assert re.search(r"api_key stored \w+ → became stored \w+", text_of(page))
    assert 'href="/admin/history/2/"' in page.content.decode()
    assert "canary" not in page.content.decode()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("author=BOB", ["1"]),
        ("action=login", ["3", "2"]),
        ("action=login.failed", ["3"]),
        ("object_name=GPU", ["1"]),
        ("origin=web", ["3", "2"]),
        ("since=2000-01-01&until=2000-01-02", []),
        ("since=2000-01-01", ["3", "2", "1"]),
        ("before=3", ["2", "1"]),
        ("before=nonsense", ["3", "2", "1"]),
        ("since=yesterday", []),
        ("author=%00", []),
        ("origin=nonsense", []),
    ],
)
def test_records_are_searched(officer: Client, query: str, found: list[str]) -> None:
    record(BOB, "deployment.added", object_name="gpu1")
    record(Attribution("carol", Origin.WEB), "login.succeeded")
    record(Attribution("mallory", Origin.WEB), "login.failed")

    assert numbers(officer.get(f"{AUDIT}?{query}")) == found


def test_as_many_queries_for_many_records_as_for_few(officer: Client) -> None:
    record(BOB, "login.succeeded")
    few = queries_of(officer, AUDIT)
    for _ in range(60):
        record(BOB, "login.succeeded")

    assert queries_of(officer, AUDIT) == few
    page = officer.get(f"{AUDIT}?author=bob")
    assert len(numbers(page)) == 50
    assert 'href="?author=bob&amp;before=12"' in page.content.decode()


def test_empty_search_says_what_to_do(officer: Client) -> None:
    record(BOB, "login.succeeded")

    assert "Nothing like that was done" in text_of(officer.get(f"{AUDIT}?author=nobody"))


# --- Export --------------------------------------------------------------------------------------


def export(client: Client, kind: str, query: str = "") -> Any:
    return client.post(f"{AUDIT}export/?{query}", {"format": kind})


def test_what_the_search_finds_is_exported_and_that_is_on_record(officer: Client) -> None:
    record(BOB, "deployment.changed", object_name="gpu1", changes={"family": ("a", "b")})
    record(Attribution("carol", Origin.WEB), "login.succeeded")

    answer = export(officer, "json", "author=bob")

    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.json"'
    (row,) = json.loads(answer.content)
    assert (row["author"], row["changes"]) == ("bob", {"family": ["a", "b"]})
    last = AuditRecord.objects.order_by("-number")[0]
    assert (last.action, last.changes["records"]) == ("audit.exported", [None, 1])


def test_a_spreadsheet_runs_nothing_of_a_csv(officer: Client) -> None:
    record(Attribution("=cmd|'/c calc'!A1", Origin.WEB), "login.failed")

    (row,) = csv.DictReader(io.StringIO(export(officer, "csv").content.decode()))

    assert row["author"] == "'=cmd|'/c calc'!A1"
    assert row["action"] == "login.failed"


def test_another_format_is_refused(officer: Client) -> None:
    assert export(officer, "xml").status_code == 400
    assert not AuditRecord.objects.exists()


# --- Verifying -----------------------------------------------------------------------------------


def verify(client: Client, head: str = "") -> Any:
    return client.post(f"{AUDIT}verify/", {"head": head})


def test_an_untouched_history_is_told_with_its_head(officer: Client) -> None:
    written = record(BOB, "login.succeeded")

    told = text_of(verify(officer))

    assert "All 1 records and 0 revisions are as they were written." in told
    assert f"Head: 1:{written.hash}" in told
    assert "All 1 records" in text_of(verify(officer, f"1:{written.hash}"))


def test_a_head_that_is_gone_is_told(officer: Client) -> None:
    record(BOB, "login.succeeded")

    assert "Record 9: was noted and is missing." in text_of(verify(officer, f"9:{'a' * 64}"))
    assert "A head is NUMBER:HASH" in text_of(verify(officer, "nonsense"))
