"""`revisions/` and `audit/`."""

import pytest
from django.db import connection

from feature_config.catalogue import Feature
from gateway.models import AuditRecord, Revision
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_deployment
from tests.unit.gateway.rest.api import Api


@pytest.fixture
def two_revisions(db: None) -> None:
    """1: a deployment; 2: it answers the chat."""
    row = make_deployment(name="a")
    assign(Feature.DUO_CHAT, row)


pytestmark = pytest.mark.usefixtures("two_revisions")


def test_revisions_are_listed_newest_first_without_documents(api: Api) -> None:
    listed = api.get("revisions/").json()["results"]

    assert [row["number"] for row in listed] == [2, 1]
    assert "document" not in listed[0]
    assert listed[0]["digest"] == Revision.objects.get(number=2).digest


def test_revision_is_shown_with_its_document(api: Api) -> None:
    document = api.get("revisions/2/").json()["document"]

    assert document["features"] == {"duo_chat": "a"}


@pytest.mark.parametrize("number", ["3", "99999999999999999999999"])
@pytest.mark.parametrize("path", ["revisions/{}/", "revisions/{}/diff/"])
def test_unknown_revision_is_told_with_those_there_are(api: Api, path: str, number: str) -> None:
    answer = api.get(path.format(number))

    assert (answer.status_code, answer.json()["code"]) == (404, "revision_unknown")
    assert "There are 1 to 2" in answer.json()["detail"]


def test_difference_is_told_to_another_and_to_what_is_stored(api: Api) -> None:
    to_two = api.get("revisions/1/diff/?to=2").json()["changes"]

    assert [(change["kind"], change["name"]) for change in to_two] == [("feature", "duo_chat")]
    assert to_two[0]["fields"]["answered_by"] == {"old": "unassigned", "new": "a"}
    assert api.get("revisions/1/diff/").json()["changes"] == to_two
    assert api.get("revisions/2/diff/").json()["changes"] == []
    assert api.get("revisions/1/diff/?to=x").status_code == 422


def test_restore_is_previewed_then_done_as_a_new_revision(api: Api) -> None:
    previewed = api.post("revisions/1/restore/", {"preview": True})
    preview, seen = previewed.json(), previewed["ETag"]
    restored = api.post("revisions/1/restore/", {"reason": "Chat was slow"}, if_match=seen)
    done = restored.json()

    newest = Revision.objects.get(number=3)
    assert (seen, restored["ETag"]) == ('"2"', '"3"')
    assert preview["changes"] == done["changes"]
    assert (preview["revision"], done["revision"]) == (None, 3)
    assert (newest.reason, newest.author) == ("Chat was slow", "API token rails")
    assert newest.digest == Revision.objects.get(number=1).digest


def test_restore_of_what_nobody_looked_at_is_asked_for_if_match(api: Api) -> None:
    answer = api.post("revisions/1/restore/", {})

    assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required")
    assert Revision.objects.count() == 2


def test_restore_after_a_colleagues_change_is_refused_and_says_whose(api: Api) -> None:
    seen = api.post("revisions/1/restore/", {"preview": True})["ETag"]
    api.put("feature-settings/duo_chat/", {"is_inactive": True}, if_match="*")

    answer = api.post("revisions/1/restore/", {}, if_match=seen)

    assert (answer.status_code, answer.json()["code"]) == (412, "change_conflict")
    assert "API token rails made revision 3 (rest" in answer.json()["detail"]
    assert Revision.objects.count() == 3


def test_restore_that_lost_a_key_says_so(api: Api) -> None:
    row = make_deployment(name="b", api_key="sk-canary-0123456789abcdef")
    number = Revision.objects.count()
    row.remove_api_key()
    row.save()

    told = api.post(f"revisions/{number}/restore/", {}, if_match="*").json()

    assert "b is restored without its API key" in told["notes"][0]


def test_revision_that_breaks_a_rule_of_today_is_not_restored(api: Api) -> None:
    document = Revision.objects.get(number=2).document
    document["deployments"][0]["family"] = "gone"
    Revision(
        number=3,
        digest="0" * 32,
        document=document,
        created_at=Revision.objects.get(number=2).created_at,
        author="x",
        origin="web",
    ).save()

    answer = api.post("revisions/3/restore/", {}, if_match="*")

    assert (answer.status_code, answer.json()["code"]) == (422, "document_invalid")
    assert [*answer.json()["errors"]] == ["deployments[0].family"]
    assert ModelDeployment.objects.get().family != "gone"


def test_audit_is_listed_and_filtered(api: Api) -> None:
    everything = api.get("audit/").json()["results"]
    of_feature = api.get("audit/?action=feature.changed").json()["results"]
    at = AuditRecord.objects.get(action="feature.changed").created_at
    before = api.get(f"audit/?created_at__lt={at.isoformat().replace('+', '%2B')}").json()

    assert [row["number"] for row in everything] == [3, 2, 1]
    assert [row["object_name"] for row in of_feature] == ["duo_chat"]
    assert of_feature[0]["changes"]["answered_by"] == ["unassigned", "a"]
    assert [row["action"] for row in before["results"]] == ["deployment.added"]
    assert api.get("audit/2/").json() == of_feature[0]


def test_audit_trail_is_verified_against_a_head_that_was_kept(api: Api) -> None:
    kept = api.get("audit/verify/").json()
    api.put("feature-settings/duo_chat/", {"is_inactive": True}, if_match="*")

    intact = api.get(f"audit/verify/?head={kept['head']}").json()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE gateway_auditrecord SET author = 'eve' WHERE number = 2")
    rewritten = api.get(f"audit/verify/?head={kept['head']}").json()

    assert kept["problems"] == intact["problems"] == []
    assert (kept["records"], intact["records"], intact["revisions"]) == (3, 4, 3)
    assert "Record 2: was changed" in rewritten["problems"][0]
    assert api.get("audit/verify/?head=3").json()["errors"].keys() == {"head"}


@pytest.mark.parametrize("path", ["audit/77/", "audit/99999999999999999999999/"])
def test_unknown_record_is_told(api: Api, path: str) -> None:
    assert api.get(path).status_code == 404


def test_audit_filter_that_makes_no_sense_is_told(api: Api) -> None:
    answer = api.get("audit/?created_at__gte=yesterday")

    assert (answer.status_code, [*answer.json()["errors"]]) == (422, ["created_at__gte"])
