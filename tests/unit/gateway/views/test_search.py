"""What GitLab gets of an installed documentation index; without one: the contract tests."""

from pathlib import Path
from typing import Any

import pytest

from docsearch.backend import LocalBackend
from docsearch.store import IndexStore
from gateway.documentation.search import DocsSearch
from gateway.inbound.handler import GatewayHandler
from tests.unit.docsearch.pages import ODD, install
from tests.unit.gateway.asgi import Client
from tests.unit.gateway.parts import ModelServer, runtime, text_answer
from tests.unit.gateway.signing import headers, mint

BOARDS = "# Issue boards\n\nCards in lists.\n\n## Create a board\n\nSelect **New board**.\n"


@pytest.fixture
def store(tmp_path: Path) -> IndexStore:
    store = IndexStore(tmp_path / "store")
    install(store, tmp_path, boards=BOARDS, runners="# Runners\n\nThey execute jobs.\n")
    return store


async def search(
    docs: DocsSearch, query: str, *, version: str = "17.4.1-ee", **more: str
) -> dict[str, Any]:
    part = runtime(ModelServer(text_answer("1")))
    part.docs = docs
    body = {
        "type": "search-docs",
        "metadata": {"source": "GitLab EE", "version": version},
        "payload": {"query": query, "page_size": 1},
    }
    sent = headers(mint(scopes=["documentation_search"]), **more)
    answer = await Client(GatewayHandler(part)).post("/v1/search/gitlab-docs", sent, json=body)
    docs.close()
    assert answer.status == 200
    found: dict[str, Any] = answer.json
    return found


async def test_a_passage_has_the_form_gitlab_reads(store: IndexStore) -> None:
    answer = await search(DocsSearch(LocalBackend(store)), "craete a board")

    (result,) = answer["response"]["results"]
    assert result["id"] == "/boards.md"
    assert result["content"] == "## Create a board\n\nSelect **New board**."
    assert result["metadata"].pop("score") > 0
    assert result["metadata"] == {
        "filename": "/boards.md",
        "title": "Issue boards",
        "headings": ["Create a board"],
        "source_url": "/help/boards.md#create-a-board",
    }
    assert answer["metadata"]["outcome"] == "found"
    assert answer["metadata"]["degraded"] is False
    assert answer["metadata"]["shown_query"] == "create a board"


async def test_an_older_caller_is_not_answered_from_newer_documentation(store: IndexStore) -> None:
    answer = await search(DocsSearch(LocalBackend(store)), "board", version="16.0.0")

    assert answer["response"]["results"] == []
    assert answer["metadata"]["degraded"] is True
    assert "16.0.0" in answer["metadata"]["reason"]


async def test_the_version_of_the_settings_wins_over_the_callers(store: IndexStore) -> None:
    answer = await search(DocsSearch(LocalBackend(store), "17.4.0"), "board", version="16.0.0")

    assert answer["response"]["results"]


async def test_a_caller_of_unreadable_version_is_answered_from_the_newest(
    store: IndexStore,
) -> None:
    answer = await search(DocsSearch(LocalBackend(store)), "board", version="unknown")

    assert answer["response"]["results"]
    assert "17.4.0" in answer["metadata"]["warning"]


async def test_the_version_in_the_header_counts_where_the_body_has_none(store: IndexStore) -> None:
    docs = DocsSearch(LocalBackend(store))

    answer = await search(docs, "board", version="", x_gitlab_version="16.0.0-ee")

    assert "16.0.0" in answer["metadata"]["reason"]
    assert answer["response"]["results"] == []


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
async def test_whatever_is_asked_has_an_answer_or_a_reason(store: IndexStore, text: str) -> None:
    text = text.encode(errors="replace").decode()[:400_000]  # as JSON and the contract have it

    answer = await search(DocsSearch(LocalBackend(store)), text)

    assert answer["response"]["results"] or answer["metadata"]["reason"]
