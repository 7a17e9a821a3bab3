"""`docs-indexes/` and `docs-search/`: what is installed, what is found, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from docsearch.backend import LocalBackend
from docsearch.golden import GoldenEntry
from docsearch.models import CheckRequest, GoldenQuestion, InstalledIndex, RegistryLook
from docsearch.store import IndexStore
from gateway.documentation.indexes import note_installed, record_look
from gateway.documentation.questions import check_changed
from gateway.documentation.upkeep import Look
from gateway.models import AuditRecord
from tests.unit.docsearch.pages import install
from tests.unit.gateway.rest.api import Api

BOARDS = "# Issue boards\n\nCards in lists.\n\n## Create a board\n\nSelect **New board**.\n"


@pytest.fixture(autouse=True)
def store(settings: Settings, tmp_path: Path) -> IndexStore:
    settings.DATA_DIR = tmp_path / "data"
    settings.GITLAB_VERSION = ""
    return IndexStore.below(settings.DATA_DIR)


def search(api: Api, query: str) -> dict[str, Any]:
    answer = api.get(f"docs-search/?{query}")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


# --- Search ---------------------------------------------------------------------------------------


def test_a_question_is_answered_with_passages_and_what_was_repaired(
    api: Api, store: IndexStore, tmp_path: Path
) -> None:
    install(store, tmp_path, boards=BOARDS)

    found = search(api, "q=craete+a+board&limit=1")

    (passage,) = found["results"]
    assert passage.pop("score") > 0
    assert passage == {
        "path": "doc/boards.md",
        "title": "Issue boards",
        "headings": ["Create a board"],
        "anchor": "create-a-board",
        "url": "/help/boards.md#create-a-board",
        "content": "## Create a board\n\nSelect **New board**.",
    }
    assert (found["outcome"], found["shown_query"]) == ("found", "create a board")
    assert found["gitlab_version"] == "17.4.0"


@pytest.mark.parametrize(
    "q", ["", "%00", "AND+OR+NOT+%22(", "%F0%9F%98%80", "%ED%A0%80", "%FF", "a", "a+" * 20_000]
)
def test_no_question_is_an_error(api: Api, store: IndexStore, tmp_path: Path, q: str) -> None:
    install(store, tmp_path, boards=BOARDS)

    assert search(api, f"q={q}")["outcome"] in {"found", "nothing_found", "not_documented"}


def test_without_an_index_the_reason_is_told(api: Api) -> None:
    found = search(api, "q=board")

    assert (found["outcome"], found["results"]) == ("no_index", [])
    assert "No documentation index" in found["reason"]


def test_an_older_version_is_not_answered_by_a_newer_one(
    api: Api, store: IndexStore, tmp_path: Path
) -> None:
    install(store, tmp_path, boards=BOARDS)

    assert search(api, "q=board&gitlab_version=16.0.0")["outcome"] == "no_index"
    assert search(api, "q=board&gitlab_version=17.5.0-ee")["warning"]


@pytest.mark.parametrize("query", ["", "q=x&limit=0", "q=x&limit=31", "q=x&gitlab_version=new"])
def test_a_bad_query_is_told(api: Api, query: str) -> None:
    assert api.get(f"docs-search/?{query}").status_code == 422


# --- Indexes --------------------------------------------------------------------------------------


def test_indexes_are_shown_with_signature_history_and_golden_questions(
    api: Api, store: IndexStore, tmp_path: Path
) -> None:
    install(store, tmp_path, boards=BOARDS)
    note_installed(store)
    install(store, tmp_path, cards=BOARDS)
    GoldenQuestion.objects.replace_all([GoldenEntry("create a board", "boards.md")])
    check_changed(LocalBackend(store))
    for _ in range(2):
        note_installed(store)

    told = api.get("docs-indexes/").json()

    (index,) = told["indexes"]
    assert (index["gitlab_version"], index["made_at"]) == ("17.4.0", "2026-05-01T00:00:00Z")
    assert index["key"]
    assert index["origin"] == told["history"][0]["origin"] == "built"
    assert index["previous_made_at"] == "2026-05-01T00:00:00Z"
    assert (index["golden"]["passed"], index["golden"]["total"]) == (0, 1)
    assert [entry["index_digest"] for entry in told["history"]][0] == index["index_digest"]
    assert len(told["history"]) == 2
    assert told["has_registry"] is False


def test_of_the_workers_on_a_node_one_notes_what_is_installed(
    api: Api, store: IndexStore, tmp_path: Path
) -> None:
    install(store, tmp_path, boards=BOARDS)
    with store.installing():  # another worker is noting it, or somebody installs the next one
        note_installed(store)
    assert not InstalledIndex.objects.exists()

    note_installed(store)

    assert InstalledIndex.objects.count() == 1


def test_a_look_in_the_registry_is_shown_as_it_goes(api: Api) -> None:
    looking, fetching = RegistryLook.State.LOOKING, RegistryLook.State.FETCHING
    record_look(Look("17.4.2", fetching, received_bytes=5, total_bytes=10))
    record_look(Look("17.4.2", looking))

    (look,) = api.get("docs-indexes/").json()["looks"]

    assert (look["wanted"], look["state"]) == ("17.4.2", "looking")
    assert (look["received_bytes"], look["total_bytes"]) == (5, 10)


def test_a_rollback_exchanges_the_indexes_and_is_recorded(
    api: Api, store: IndexStore, tmp_path: Path
) -> None:
    install(store, tmp_path, boards=BOARDS)
    install(store, tmp_path, cards=BOARDS)

    answer = api.post("docs-indexes/17.4.0/rollback/", {})

    assert answer.status_code == 200
    assert search(api, "q=board")["results"][0]["path"] == "doc/boards.md"
    assert AuditRecord.objects.get(action="docs_index.rolled_back").object_name == "17.4.0"
    assert InstalledIndex.objects.count() == 1


@pytest.mark.parametrize(("version", "status"), [("17.4.0", 409), ("16.0.0", 404), ("latest", 404)])
def test_what_cannot_be_rolled_back_is_told(
    api: Api, store: IndexStore, tmp_path: Path, version: str, status: int
) -> None:
    install(store, tmp_path, boards=BOARDS)

    answer = api.post(f"docs-indexes/{version}/rollback/", {})

    assert answer.status_code == status
    assert not AuditRecord.objects.filter(action="docs_index.rolled_back").exists()


def test_without_a_registry_there_is_nothing_to_check(api: Api) -> None:
    answer = api.post("docs-indexes/check/", {})

    assert answer.status_code == 409
    assert "DOCS_REGISTRY_URL" in answer.json()["detail"]


def test_a_check_is_asked_of_every_node_and_recorded(api: Api, settings: Settings) -> None:
    settings.DOCS_REGISTRY_URL = "https://gitlab.example.com/api/v4/projects/1/packages"
    before = CheckRequest.objects.last_asked_at()

    answer = api.post("docs-indexes/check/", {})

    assert answer.status_code == 202
    assert CheckRequest.objects.last_asked_at() != before
    assert AuditRecord.objects.filter(action="docs_index.check_asked").count() == 1
