"""The page that explains: gates in order, the first that is shut, and its remedy."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from feature_config.catalogue import Feature
from gateway.roles import VIEWER
from selfhosted_models.models import EndpointHealth
from tests.factories import assign, make_deployment, setting_of
from tests.unit.gateway.browsing import client_of, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

CHAT = Feature.DUO_CHAT


@pytest.fixture
def viewer() -> Client:
    return client_of(VIEWER)


def ask(client: Client, **query: Any) -> str:
    page = client.get("/admin/explain/", {"feature": CHAT.value, **query})
    assert page.status_code == 200
    return text_of(page).partition("reads them from a real token.")[2]  # below the form


def test_without_a_question_it_says_what_to_ask(viewer: Client) -> None:
    page = viewer.get("/admin/explain/").content.decode()

    assert "Choose a feature and say what the person" in page
    assert "would be" not in page


def test_open_gates_say_who_would_answer(viewer: Client) -> None:
    assign(CHAT, make_deployment(name="gpu1"), make_deployment(name="gpu2"))

    told = ask(viewer, user="dana")

    assert "GitLab Duo Chat: would be answered" in told
    assert "yes Is there a valid token? a valid token of dana" in told
    assert told.count("yes ") == 6
    assert "1 gpu1 http://10.0.4.11:8000/v1 starting" in told


def test_first_shut_gate_has_its_remedy_and_what_follows_is_not_asked(viewer: Client) -> None:
    assign(CHAT, make_deployment())

    told = ask(viewer, token="given", scopes="complete_code, explain_code")

    assert "would be refused" in told
    assert "What to do: Give the user the GitLab Duo add-on seat" in told
    assert "no Does the token permit this feature? The token lacks the scope duo_chat." in told
    assert told.count("not asked") == 4


@pytest.mark.parametrize("scopes", ["duo_chat", "complete_code duo_chat", "a,duo_chat ,b"])
def test_scopes_are_read_as_people_write_them(viewer: Client, scopes: str) -> None:
    assign(CHAT, make_deployment())

    assert "would be answered" in ask(viewer, token="given", scopes=scopes)


def test_no_token_inactive_and_down_are_told_apart(viewer: Client) -> None:
    gpu = make_deployment(name="gpu1")
    assign(CHAT, gpu)
    assert "no Is there a valid token?" in ask(viewer, token="none")

    now = timezone.now()
    EndpointHealth.objects.create(
        deployment=gpu,
        url=gpu.endpoints[0],
        state="down",
        reason="It refused the connection.",
        since=now,
        heard_at=now,
    )
    assert "Start the model server, or correct its endpoint" in ask(viewer)

    setting_of(CHAT).deactivate()
    assert "no Is the feature switched on?" in ask(viewer)


def test_a_feature_there_is_not_is_told(viewer: Client) -> None:
    assert "would be" not in ask(viewer, feature="nonsense")
