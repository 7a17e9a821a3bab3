"""What the composition root adds to the admin: recording, conflicts, and the word of the file."""

import re

import pytest
from django.db import connection
from django.test import Client

from feature_config.catalogue import Feature
from gateway.audit import Attribution, Origin
from gateway.configuration.guards import version_of
from gateway.configuration.history import changing_configuration, newest_revision
from gateway.models import AuditRecord, Revision
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_admin, make_deployment, setting_of

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:No directory at"),
]

DEPLOYMENTS = "/admin/selfhosted_models/modeldeployment/"
FEATURES = "/admin/feature_config/featuresetting/"
KEY = "sk-0123456789abcdefWXYZ"
FILLED = {
    "name": "gpu1",
    "family": "codegemma-7b-it",
    "serving_format": "openai_chat",
    "endpoints": "http://10.0.4.11:8000/v1",
    "model_identifier": "some-model",
    "is_active": "on",
}


@pytest.fixture
def admin() -> Client:
    client = Client(REMOTE_ADDR="10.0.0.9", headers={"X-Request-ID": "req-1"})
    client.force_login(make_admin(username="alice"))
    return client


def page_of(row: object) -> str:
    folder = DEPLOYMENTS if isinstance(row, ModelDeployment) else FEATURES
    return f"{folder}{getattr(row, 'pk')}/change/"  # noqa: B009


def seen_on(html: str) -> str:
    """Return the version that a page says it shows."""
    found = re.search(r'name="seen_version" value="([0-9a-f]+)"', html)
    assert found
    return found[1]


def columns(html: str, name: str) -> list[str]:
    return re.findall(rf'<td class="field-{name}">(.*?)</td>', html)


# --- Recording -----------------------------------------------------------------------------------


def test_added_deployment_is_a_revision_of_its_author(admin: Client) -> None:
    admin.post(f"{DEPLOYMENTS}add/", {**FILLED, "api_key": KEY})

    revision = Revision.objects.get()
    assert (revision.author, revision.origin) == ("alice", "web")
    record = AuditRecord.objects.get()
    assert (record.action, record.object_name) == ("deployment.added", "gpu1")
    assert (record.source_address, record.request_id) == ("10.0.0.9", "req-1")
    assert record.object_id == str(ModelDeployment.objects.get().pk)
    for stored in (str(revision.document), str(record.changes)):
        assert KEY not in stored
        assert "WXYZ" not in stored


def test_changed_feature_is_one_revision(admin: Client) -> None:
    deployment = make_deployment(name="gpu1")

    admin.post(page_of(setting_of(Feature.DUO_CHAT)), {"answered_by": deployment.pk})

    assert Revision.objects.count() == 2
    record = AuditRecord.objects.get(author="alice")
    assert record.changes == {"answered_by": ["unassigned", "gpu1"]}


def test_deleting_one_and_several_is_recorded(admin: Client) -> None:
    one, two, three = (make_deployment(name=name) for name in ("one", "two", "three"))

    admin.post(f"{DEPLOYMENTS}{one.pk}/delete/", {"post": "yes"})
    admin.post(
        DEPLOYMENTS,
        {"action": "delete_selected", "_selected_action": [two.pk, three.pk], "post": "yes"},
    )

    removed = AuditRecord.objects.filter(author="alice", action="deployment.removed")
    assert [record.object_name for record in removed] == ["one", "three", "two"]
    newest = newest_revision()
    assert newest
    assert (newest.number, newest.document["deployments"]) == (5, [])


@pytest.mark.parametrize("wrong", [{"name": ""}, {}], ids=["refused form", "nothing changed"])
def test_what_changes_nothing_is_no_revision(admin: Client, wrong: dict[str, str]) -> None:
    deployment = make_deployment(name="gpu1")

    admin.get(page_of(deployment))
    admin.post(page_of(deployment), {**FILLED, **wrong})

    assert Revision.objects.count() == 1


# --- Conflicts -----------------------------------------------------------------------------------


def test_change_after_a_colleagues_is_refused_and_says_whose(admin: Client) -> None:
    deployment = make_deployment(name="gpu1")
    seen = seen_on(admin.get(page_of(deployment)).content.decode())
    with changing_configuration(Attribution("bob", Origin.WEB)):
        deployment.context_tokens = 512
        deployment.save()

    mine = {**FILLED, "model_identifier": "mine", "seen_version": seen}
    html = admin.post(page_of(deployment), mine).content.decode()

    assert "bob changed context tokens of gpu1" in html
    assert 'value="mine"' in html
    now = ModelDeployment.objects.get()
    assert (now.context_tokens, now.model_identifier) == (512, "some-model")
    assert seen_on(html) == version_of(now)


def test_change_saved_again_after_the_conflict_was_shown_is_taken(admin: Client) -> None:
    deployment = make_deployment(name="gpu1")
    stale = {**FILLED, "model_identifier": "mine", "seen_version": "0" * 32}
    html = admin.post(page_of(deployment), stale).content.decode()

    response = admin.post(page_of(deployment), {**stale, "seen_version": seen_on(html)})

    assert response.status_code == 302
    assert ModelDeployment.objects.get().model_identifier == "mine"


def test_choice_after_a_colleagues_is_refused_and_says_whose(admin: Client) -> None:
    first, second = make_deployment(name="first"), make_deployment(name="second")
    page = page_of(setting_of(Feature.DUO_CHAT))
    seen = seen_on(admin.get(page).content.decode())
    with changing_configuration(Attribution("bob", Origin.REST)):
        assign(Feature.DUO_CHAT, first)

    html = admin.post(page, {"answered_by": second.pk, "seen_version": seen}).content.decode()

    assert "bob changed answered by of GitLab Duo Chat" in html
    assert setting_of(Feature.DUO_CHAT).choices.get().deployment == first


def test_new_key_in_a_conflict_is_neither_stored_nor_shown(admin: Client) -> None:
    deployment = make_deployment(name="gpu1", api_key="sk-the-key-that-is-stored")
    mine = {**FILLED, "api_key": KEY, "seen_version": "0" * 32}

    html = admin.post(page_of(deployment), mine).content.decode()

    assert KEY not in html
    assert ModelDeployment.objects.get().api_key_fingerprint == deployment.api_key_fingerprint


def test_history_that_is_busy_is_told_and_nothing_is_saved(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = make_deployment(name="gpu1")
    # So that the lock of PostgreSQL is asked for, which fails here as it does when it is held.
    monkeypatch.setattr(connection, "vendor", "postgresql")

    response = admin.post(page_of(deployment), {**FILLED, "model_identifier": "mine"})

    monkeypatch.undo()
    assert response.status_code == 302
    assert (
        "Nothing of this one was saved" in admin.get(response.headers["Location"]).content.decode()
    )
    assert ModelDeployment.objects.get().model_identifier == "some-model"


# --- Managed by file -----------------------------------------------------------------------------


def test_row_of_a_file_is_not_saved_unless_that_is_said(admin: Client) -> None:
    deployment = make_deployment(name="gpu1")
    deployment.file_digest = version_of(deployment)
    deployment.save()
    mine = {**FILLED, "model_identifier": "mine"}

    shown = admin.get(page_of(deployment)).content.decode()
    refused = admin.post(page_of(deployment), mine).content.decode()

    assert "Managed by the configuration file" in shown
    assert "is managed by the configuration file: change it there" in refused
    assert ModelDeployment.objects.get().model_identifier == "some-model"

    admin.post(page_of(deployment), {**mine, "overrides_file": "on"})

    assert ModelDeployment.objects.get().model_identifier == "mine"
    assert "changed here since it was applied" in admin.get(page_of(deployment)).content.decode()


def test_feature_of_a_file_is_not_saved_unless_that_is_said(admin: Client) -> None:
    deployment = make_deployment()
    setting = setting_of(Feature.DUO_CHAT)
    setting.file_digest = version_of(setting)
    setting.save()

    admin.post(page_of(setting), {"answered_by": deployment.pk})
    assert not setting_of(Feature.DUO_CHAT).choices.exists()

    admin.post(page_of(setting), {"answered_by": deployment.pk, "overrides_file": "on"})
    assert setting_of(Feature.DUO_CHAT).choices.exists()


def test_lists_say_what_manages_each_row(admin: Client) -> None:
    make_deployment(name="a")
    same = make_deployment(name="b")
    ModelDeployment.objects.filter(pk=same.pk).update(file_digest=version_of(same))
    make_deployment(name="c", file_digest="0" * 32)

    html = admin.get(DEPLOYMENTS).content.decode()

    assert columns(html, "managed_by") == ["web", "file", "file, changed here since"]


def test_deployment_of_a_file_is_not_deleted_in_the_web(admin: Client) -> None:
    managed, free = make_deployment(file_digest="0" * 32), make_deployment()

    alone = admin.post(f"{DEPLOYMENTS}{managed.pk}/delete/", {"post": "yes"})
    both = [managed.pk, free.pk]
    admin.post(DEPLOYMENTS, {"action": "delete_selected", "_selected_action": both, "post": "yes"})

    assert alone.status_code == 403
    assert ModelDeployment.objects.count() == 2
