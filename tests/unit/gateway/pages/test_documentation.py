"""The admin's pages about the documentation."""

import html as html_text
import re
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from docsearch.backend import LocalBackend
from docsearch.golden import GoldenEntry
from docsearch.models import (
    CheckRequest,
    GoldenQuestion,
    RegistryLook,
    UnansweredQuestion,
)
from docsearch.store import IndexStore
from gateway.documentation.indexes import note_installed, record_look
from gateway.documentation.questions import check_changed
from gateway.documentation.upkeep import Look
from gateway.models import AuditRecord
from tests.factories import make_admin
from tests.unit.docsearch.encoders import WordEncoder
from tests.unit.docsearch.pages import install

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

BOARDS = "# Issue boards\n\nCards in lists.\n\n## Create a board\n\nSelect **New board**.\n"
PAGE = "/admin/documentation/"
QUESTIONS = f"{PAGE}questions/"


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make_admin())
    return client


@pytest.fixture(autouse=True)
def store(settings: Settings, tmp_path: Path) -> IndexStore:
    settings.DATA_DIR = tmp_path / "data"
    settings.GITLAB_VERSION = ""
    return IndexStore.below(settings.DATA_DIR)


def words(client: Client, url: str) -> str:
    page = client.get(url).content.decode()
    return " ".join(html_text.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def unanswered(question: str) -> UnansweredQuestion:
    now = timezone.now()
    return UnansweredQuestion.objects.create(
        question=question,
        outcome="nothing_found",
        gitlab_version="17.4.0",
        times=3,
        first_asked_at=now,
        last_asked_at=now,
    )


# --- Indexes --------------------------------------------------------------------------------------


def test_who_begins_is_told_how_to_get_an_index(admin: Client) -> None:
    told = words(admin, PAGE)

    assert "No documentation yet" in told
    assert "build_docs_index" in told
    assert "Check now" not in told


def test_indexes_looks_and_history_are_shown(
    admin: Client, store: IndexStore, settings: Settings, tmp_path: Path
) -> None:
    settings.DOCS_REGISTRY_URL = "https://gitlab.example.com/api/v4/projects/1/packages"
    install(store, tmp_path, boards=BOARDS)
    note_installed(store)
    fetching = RegistryLook.State.FETCHING
    record_look(Look("17.4.2", fetching, received_bytes=1_000_000, total_bytes=2_000_000))
    record_look(Look("16.0.0", RegistryLook.State.FAILED, "No documentation is published."))

    told = words(admin, PAGE)

    assert "17.4.0" in told
    assert "2026-05-01 00:00" in told
    assert "built on the node" in told
    assert "Check now" in told
    assert "976.6 KB of 1.9 MB" in told
    assert "failed No documentation is published." in told
    assert "History GitLab 17.4.0 on" in told
    assert "data-follows" in admin.get(PAGE).content.decode()


def test_an_index_says_whether_meaning_can_count(
    admin: Client, store: IndexStore, settings: Settings, tmp_path: Path
) -> None:
    install(store, tmp_path, boards=BOARDS)
    install(store, tmp_path, WordEncoder(), version="17.5.0", boards=BOARDS)
    assert "words alone count" not in words(admin, PAGE)
    settings.DOCS_HYBRID = True

    told = words(admin, PAGE)

    assert re.search(r"17\.5\.0 \S+ \S+ with vectors", told)
    assert re.search(r"17\.4\.0 \S+ \S+ no vectors: words alone count", told)


def test_as_many_queries_for_many_rows_as_for_none(
    admin: Client, store: IndexStore, tmp_path: Path
) -> None:
    admin.get(PAGE)
    with CaptureQueriesContext(connection) as for_none:
        admin.get(PAGE)
    for version in ("17.4.0", "17.5.0"):
        install(store, tmp_path, version=version, boards=BOARDS)
        record_look(Look(version, RegistryLook.State.CURRENT))
    note_installed(store)

    with CaptureQueriesContext(connection) as for_many:
        admin.get(PAGE)

    assert len(for_many) == len(for_none)


def test_a_rollback_is_done_told_and_recorded(
    admin: Client, store: IndexStore, tmp_path: Path
) -> None:
    install(store, tmp_path, boards=BOARDS)
    install(store, tmp_path, cards=BOARDS)

    answer = admin.post(f"{PAGE}rollback/", {"version": "17.4.0"}, follow=True)

    assert "the index before answers again" in answer.content.decode()
    assert LocalBackend(store).search("board").passages[0].path == "doc/boards.md"
    assert AuditRecord.objects.filter(action="docs_index.rolled_back").count() == 1


@pytest.mark.parametrize("version", ["", "latest", "16.0.0", "17.4.0"])
def test_a_rollback_that_cannot_be_is_told(
    admin: Client, store: IndexStore, tmp_path: Path, version: str
) -> None:
    install(store, tmp_path, boards=BOARDS)

    answer = admin.post(f"{PAGE}rollback/", {"version": version}, follow=True)

    assert answer.status_code == 200
    assert 'class="error"' in answer.content.decode()


def test_without_a_registry_a_check_says_what_to_set(admin: Client) -> None:
    answer = admin.post(f"{PAGE}check/", follow=True)

    assert "set DOCS_REGISTRY_URL" in answer.content.decode()


def test_a_check_is_asked_of_every_node_and_followed(admin: Client, settings: Settings) -> None:
    settings.DOCS_REGISTRY_URL = "https://gitlab.example.com/api/v4/projects/1/packages"

    told = admin.post(f"{PAGE}check/", follow=True).content.decode()

    assert CheckRequest.objects.is_recent()
    assert "Every node looks within seconds" in told
    assert "data-follows" in told
    assert AuditRecord.objects.filter(action="docs_index.check_asked").count() == 1


# --- Search ---------------------------------------------------------------------------------------


def test_a_search_shows_passages_and_what_was_repaired(
    admin: Client, store: IndexStore, tmp_path: Path
) -> None:
    install(store, tmp_path, boards=BOARDS)

    told = words(admin, f"{PAGE}search/?q=craete+a+board")

    assert "Showing results for create a board" in told
    assert "1 passage of GitLab 17.4.0" in told
    assert "Issue boards › Create a board" in told


@pytest.mark.parametrize(
    "query", ["", "q=", "q=%00", "q=AND+NOT+%22(", "q=board&version=latest", "q=" + "x" * 9000]
)
def test_no_search_is_an_error(
    admin: Client, store: IndexStore, tmp_path: Path, query: str
) -> None:
    assert admin.get(f"{PAGE}search/?{query}").status_code == 200
    install(store, tmp_path, boards=BOARDS)

    assert admin.get(f"{PAGE}search/?{query}").status_code == 200


# --- Questions ------------------------------------------------------------------------------------


def test_golden_questions_are_added_told_and_removed(
    admin: Client, store: IndexStore, tmp_path: Path
) -> None:
    install(store, tmp_path, boards=BOARDS)
    admin.post(f"{QUESTIONS}add/", {"question": "create a board", "page": "/cards.md"})
    check_changed(LocalBackend(store))

    told = words(admin, QUESTIONS)

    assert GoldenQuestion.objects.entries() == (GoldenEntry("create a board", "cards.md"),)
    assert "GitLab 17.4.0: 0 of 1 answered" in told
    assert "create a board: not cards.md , but boards.md#create-a-board" in told
    admin.post(f"{QUESTIONS}remove/", {"question": str(GoldenQuestion.objects.get().pk)})
    assert not GoldenQuestion.objects.exists()
    assert [*AuditRecord.objects.values_list("action", flat=True)] == [
        "golden_question.added",
        "golden_question.removed",
    ]


def test_a_golden_question_that_cannot_be_is_told_with_its_field(admin: Client) -> None:
    answer = admin.post(f"{QUESTIONS}add/", {"question": "board", "page": "boards.html"})

    assert answer.status_code == 422
    assert "as in ci/yaml/README.md." in answer.content.decode()
    assert 'value="board"' in answer.content.decode()


def test_the_worklist_is_shown_and_worked_off(admin: Client, settings: Settings) -> None:
    assert "set DOCS_UNANSWERED_QUESTIONS" in words(admin, QUESTIONS)
    settings.DOCS_UNANSWERED_QUESTIONS = 100
    row = unanswered("frobnicate […]")
    assert "frobnicate […] 3 times nothing found in GitLab 17.4.0" in words(admin, QUESTIONS)
    assert "(1 unanswered)" in words(admin, PAGE)

    admin.post(f"{QUESTIONS}deal-with/", {"questions": [str(row.pk), "x", "9" * 30]})

    assert "Nothing to do" in words(admin, QUESTIONS)


def test_a_removal_of_what_is_not_there_is_told(admin: Client) -> None:
    for number in ("", "x", "99", "9" * 30):
        assert admin.post(f"{QUESTIONS}remove/", {"question": number}).status_code == 404
