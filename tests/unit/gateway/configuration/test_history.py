import pytest
from django.db import DatabaseError, connection

from feature_config.catalogue import Feature
from feature_config.models import FeatureChoice
from gateway.audit import Attribution, Origin
from gateway.configuration.errors import RevisionUnknown
from gateway.configuration.history import changing_configuration, newest_revision, revision_of
from gateway.configuration.stored import read_configuration
from gateway.models import AuditRecord, Revision
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, build_deployment, make_deployment, setting_of

pytestmark = pytest.mark.django_db

ALICE = Attribution("alice", Origin.REST, "more context", "10.0.0.9", "req-1")


def revisions() -> list[tuple[int, str, str]]:
    return list(Revision.objects.values_list("number", "author", "origin"))


def test_change_makes_one_revision_of_the_whole_configuration() -> None:
    with changing_configuration(ALICE) as recording:
        deployment = make_deployment(name="gpu1", api_key="sk-0123456789abcdefghij")
        assign(Feature.DUO_CHAT, deployment)
        setting_of(Feature.CODE_COMPLETIONS).deactivate()

    revision = Revision.objects.get()
    assert recording.revision == revision
    assert (revision.number, revision.author, revision.origin) == (1, "alice", "rest")
    assert revision.reason == "more context"
    assert revision.document == read_configuration().document().to_data()
    assert revision.digest == read_configuration().document().digest()
    assert revision.document["features"] == {"duo_chat": "gpu1", "code_completions": "inactive"}
    assert revision.document["deployments"][0]["api_key"] == {
        "stored": deployment.api_key_fingerprint
    }
    assert "sk-0123" not in str(revision.document)


def test_each_change_has_an_audit_record_that_cites_the_revision() -> None:
    deployment = make_deployment(name="gpu1", context_tokens=8192)

    with changing_configuration(ALICE):
        deployment.context_tokens = 16384
        deployment.save()
        assign(Feature.DUO_CHAT, deployment)

    first, second = AuditRecord.objects.filter(author="alice")
    assert (first.action, first.object_id) == ("deployment.changed", str(deployment.pk))
    assert first.changes == {"context_tokens": [8192, 16384]}
    assert (first.source_address, first.request_id) == ("10.0.0.9", "req-1")
    assert (second.action, second.object_id) == ("feature.changed", "duo_chat")
    assert second.changes == {"answered_by": ["unassigned", "gpu1"]}
    assert first.revision == second.revision == newest_revision()


def test_nothing_changed_makes_no_revision() -> None:
    deployment = make_deployment()
    before = Revision.objects.count()

    with changing_configuration(ALICE) as recording:
        deployment.save()
        setting_of(Feature.DUO_CHAT).save()

    assert Revision.objects.count() == before
    assert recording.revision is None


def test_rename_is_told_as_such() -> None:
    deployment = make_deployment(name="old")
    assign(Feature.DUO_CHAT, deployment)

    with changing_configuration(ALICE):
        deployment.name = "new"
        deployment.save()

    record = AuditRecord.objects.get(author="alice")
    assert (record.object_name, record.changes) == ("new", {"name": ["old", "new"]})


def test_name_that_is_taken_over_is_told_as_removed_and_changed() -> None:
    first, second = make_deployment(name="a"), make_deployment(name="b", context_tokens=512)

    with changing_configuration(ALICE):
        second.delete()
        first.name = "b"
        first.save()

    records = AuditRecord.objects.filter(author="alice")
    assert [(row.action, row.object_name) for row in records] == [
        ("deployment.removed", "a"),
        ("deployment.changed", "b"),
    ]


def test_error_in_the_block_leaves_nothing_behind() -> None:
    def change_and_fail() -> None:
        with changing_configuration(ALICE):
            make_deployment()
            raise LookupError

    with pytest.raises(LookupError):
        change_and_fail()

    assert not ModelDeployment.objects.exists()
    assert not Revision.objects.exists()
    assert not AuditRecord.objects.exists()


def test_change_that_cannot_be_recorded_is_not_made() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON gateway_auditrecord "
            "BEGIN SELECT RAISE(ABORT, 'full'); END"
        )

    with pytest.raises(DatabaseError), changing_configuration(ALICE):
        make_deployment()

    assert not ModelDeployment.objects.exists()
    assert not Revision.objects.exists()


def test_change_within_a_change_is_refused() -> None:
    with (
        changing_configuration(ALICE),
        pytest.raises(RuntimeError, match="recorded already"),
        changing_configuration(ALICE),
    ):
        pass


# --- What is written outside of a block -----------------------------------------------------------


def test_save_outside_of_a_block_makes_a_revision_of_unknown_author() -> None:
    make_deployment(name="gpu1")

    assert revisions() == [(1, "unknown", "unknown")]
    assert AuditRecord.objects.get().action == "deployment.added"


def test_choice_made_outside_of_a_block_makes_one_revision() -> None:
    first, second = make_deployment(name="a"), make_deployment(name="b")
    assign(Feature.DUO_CHAT, first)

    assign(Feature.DUO_CHAT, second)

    assert len(revisions()) == 4
    newest = newest_revision()
    assert newest
    assert newest.document["features"] == {"duo_chat": "b"}


def test_delete_and_added_choice_outside_of_a_block_make_revisions() -> None:
    deployment = make_deployment(name="a")
    FeatureChoice.objects.create(
        setting=setting_of(Feature.DUO_CHAT), position=0, deployment=deployment
    )
    FeatureChoice.objects.all().delete()
    deployment.delete()

    assert len(revisions()) == 3
    newest = newest_revision()
    assert newest
    assert newest.digest == read_configuration().document().digest()


def test_what_no_signal_tells_of_is_a_revision_before_the_next_change() -> None:
    deployment = make_deployment(name="gpu1", context_tokens=8192)
    ModelDeployment.objects.update(context_tokens=512)

    with changing_configuration(ALICE):
        assign(Feature.DUO_CHAT, deployment)

    assert [author for _, author, _ in revisions()] == ["unknown", "unknown", "alice"]
    found = AuditRecord.objects.filter(revision=2).get()
    assert found.changes == {"context_tokens": [8192, 512]}
    assert found.object_id == str(deployment.pk)
    assert AuditRecord.objects.filter(revision=3).get().action == "feature.changed"


def test_unsaved_row_makes_no_revision() -> None:
    build_deployment()

    assert revisions() == []


def test_unknown_revision_is_refused_with_those_there_are() -> None:
    with pytest.raises(RevisionUnknown, match="There is none yet"):
        revision_of(1)

    make_deployment()

    with pytest.raises(RevisionUnknown, match="no revision 2. There are 1 to 1"):
        revision_of(2)
    assert revision_of(1) == newest_revision()
