"""The pages of the history: what they show, and the way back."""

import re
from typing import Any

import pytest
from django.test import Client

from feature_config.catalogue import Feature
from gateway.audit import Attribution, Origin
from gateway.configuration.history import changing_configuration, newest_revision
from gateway.models import AuditRecord, Revision
from gateway.roles import EDITOR, VIEWER
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_admin, make_deployment, setting_of
from tests.unit.gateway.browsing import client_of, queries_of, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

HISTORY = "/admin/history/"
CHAT = Feature.DUO_CHAT
KEY = "sk-canary-0123456789abcdef"


@pytest.fixture
def alice() -> Client:
    client = Client()
    client.force_login(make_admin(username="alice"))
    return client


def change(author: str = "bob", reason: str = "") -> Any:
    return changing_configuration(Attribution(author, Origin.REST, reason))


def newest() -> int:
    revision = newest_revision()
    assert revision
    return revision.number


@pytest.fixture
def three_revisions() -> ModelDeployment:
    """1: a deployment with a key; 2: it answers the chat; 3: the chat is inactive."""
    with change(reason="A new server"):
        deployment = make_deployment(name="gpu1", api_key=KEY)
    with change("carol"):
        assign(CHAT, deployment)
    with change():
        setting_of(CHAT).deactivate()
    return deployment


def test_nothing_yet_says_what_will_be_here(alice: Client) -> None:
    assert "Nothing was configured yet" in text_of(alice.get(HISTORY))


@pytest.mark.usefixtures("three_revisions")
def test_revisions_are_listed_newest_first_with_who_and_what(alice: Client) -> None:
    told = text_of(alice.get(HISTORY))

    assert re.search(r"3 in use .* bob \(rest\) duo_chat 2 .* carol \(rest\) duo_chat 1 ", told)
    assert "gpu1 A new server" in told


def test_as_many_queries_for_many_revisions_as_for_few(alice: Client) -> None:
    make_deployment()
    few = queries_of(alice, HISTORY)
    for _ in range(60):
        make_deployment()

    assert queries_of(alice, HISTORY) == few
    first_page = alice.get(HISTORY)
    assert "Older revisions" in text_of(first_page)
    assert 'href="?before=12"' in first_page.content.decode()
    older = alice.get(f"{HISTORY}?before=12").content.decode()
    assert 'href="/admin/history/11/"' in older
    assert 'href="/admin/history/12/"' not in older


@pytest.mark.usefixtures("three_revisions")
def test_a_revision_shows_what_it_changed_and_the_whole_document_without_keys(
    alice: Client,
) -> None:
    second = alice.get(f"{HISTORY}2/")

    assert "GitLab Duo Chat feature changed answered_by unassigned" in text_of(second)
    assert "duo_chat: gpu1" in text_of(second)
    assert KEY not in alice.get(f"{HISTORY}1/").content.decode()


@pytest.mark.usefixtures("three_revisions")
def test_revisions_are_compared_with_each_other_and_with_now(alice: Client) -> None:
    then_and_now = text_of(alice.get(f"{HISTORY}2/difference/"))
    assert "1 difference, from then to what is stored now" in then_and_now
    assert "answered_by gpu1 → became inactive" in then_and_now

    assert "1 difference, from then to revision 2" in text_of(
        alice.get(f"{HISTORY}1/difference/?to=2")
    )
    assert "They are the same" in text_of(alice.get(f"{HISTORY}3/difference/"))


@pytest.mark.parametrize("path", ["77/", "1/difference/?to=77", "1/difference/?to=x", "9" * 30])
@pytest.mark.usefixtures("three_revisions")
def test_a_revision_there_is_not_is_not_found(alice: Client, path: str) -> None:
    assert alice.get(f"{HISTORY}{path}", follow=True).status_code == 404


# --- Going back ----------------------------------------------------------------------------------


def restore(client: Client, number: int, **sent: Any) -> Any:
    return client.post(f"{HISTORY}{number}/restore/", sent, follow=True)


@pytest.mark.usefixtures("three_revisions")
def test_going_back_first_tells_what_it_would_change(alice: Client) -> None:
    asked = restore(alice, 2)

    assert "Nothing is changed yet" in text_of(asked)
    assert "answered_by inactive → became gpu1" in text_of(asked)
    assert newest() == 3

    done = restore(alice, 2, confirmed=3, reason="The chat is wanted back")

    assert "Restored revision 2." in text_of(done)
    assert [each.deployment.name for each in setting_of(CHAT).choices.all()] == ["gpu1"]
    made = Revision.objects.get(number=4)
    assert (made.author, made.reason) == ("alice", "The chat is wanted back")
    last = AuditRecord.objects.order_by("-number")[0]
    assert (last.action, last.revision_id) == ("feature.changed", 4)


@pytest.mark.usefixtures("three_revisions")
def test_what_a_colleague_changed_meanwhile_is_shown_before_going_back(alice: Client) -> None:
    with change("dana"):
        make_deployment(name="gpu2")

    asked = restore(alice, 2, confirmed=3)

    assert "changed after you looked" in text_of(asked)
    assert "gpu2 deployment removed" in text_of(asked)
    assert newest() == 4


@pytest.mark.usefixtures("three_revisions")
def test_what_cannot_be_restored_is_told(alice: Client) -> None:
    with change():
        ModelDeployment.objects.get().delete()

    told = text_of(restore(alice, 2))

    assert "gpu1 is restored without its API key. No key with the fingerprint" in told
    assert "Nothing to restore: this is what revision 4 says." in text_of(restore(alice, 4))


@pytest.mark.usefixtures("three_revisions")
def test_only_who_may_change_everything_is_offered_the_way_back() -> None:
    assert "Go back to revision 2" not in text_of(client_of(VIEWER).get(f"{HISTORY}2/"))
    assert "Go back to revision 2" in text_of(client_of(EDITOR).get(f"{HISTORY}2/"))
    assert "Go back to revision 3" not in text_of(client_of(EDITOR).get(f"{HISTORY}3/"))
