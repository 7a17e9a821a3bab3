"""Which version is searched for whom, and that nobody waits for an answer for long."""

import threading
from pathlib import Path

import pytest

from docsearch.backend import LocalBackend
from docsearch.results import Outcome, SearchResult
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from gateway.documentation.search import DocsSearch
from gateway.inbound.handler import GatewayHandler
from tests.unit.docsearch.pages import install
from tests.unit.gateway.asgi import Client
from tests.unit.gateway.parts import ModelServer, runtime, text_answer
from tests.unit.gateway.signing import headers, mint, mint_own


def versions(*texts: str) -> list[GitLabVersion]:
    return [GitLabVersion.parse(text) for text in texts]


def docs_search(tmp_path: Path, gitlab_version: str = "") -> DocsSearch:
    return DocsSearch(LocalBackend(IndexStore(tmp_path / "store")), gitlab_version)


# --- Wanted versions ------------------------------------------------------------------------------


def test_the_versions_instances_named_last_are_wanted(tmp_path: Path) -> None:
    docs = docs_search(tmp_path)
    assert docs.wanted_versions() == [None]

    for said in ("17.0.0", "17.1.0-ee", "v17.2.0", "17.3.0-pre", "17.0.0", "17.4.0", "new", ""):
        docs.hear_of(said)

    assert docs.wanted_versions() == versions("17.2.0", "17.3.0", "17.0.0", "17.4.0")
    docs.close()


def test_the_version_of_the_settings_is_the_only_one_wanted(tmp_path: Path) -> None:
    docs = docs_search(tmp_path, "17.4.0-ee")

    docs.hear_of("16.0.0")

    assert docs.wanted_versions() == versions("17.4.0")
    docs.close()


async def test_an_instance_is_heard_of_whatever_it_asks_and_a_user_is_not(tmp_path: Path) -> None:
    part = runtime(ModelServer(text_answer("1")))
    part.docs = docs_search(tmp_path)
    client = Client(GatewayHandler(part))

    for token, version in ((mint(), "17.4.0-ee"), (mint_own(), "16.0.0"), ("bad", "15.0.0")):
        sent = headers(token, x_gitlab_version=version)
        await client.post("/v1/prompts/chat/react", sent, json={"inputs": {}})

    assert part.docs.wanted_versions() == versions("17.4.0")
    part.docs.close()


# --- Answers --------------------------------------------------------------------------------------


async def test_who_does_not_say_its_version_is_told_which_answers(tmp_path: Path) -> None:
    install(IndexStore(tmp_path / "store"), tmp_path, boards="# Issue boards")
    docs = docs_search(tmp_path)

    unknown = await docs.search("boards", caller_version="unknown", limit=4)
    known = await docs.search("boards", caller_version="17.4.0", limit=4)
    docs.close()

    assert unknown.passages == known.passages
    assert "17.4.0" in unknown.warning
    assert not known.warning


class StandingBackend(LocalBackend):
    """Answers once it is let go."""

    def __init__(self, store: IndexStore) -> None:
        super().__init__(store)
        self.let_go = threading.Event()

    def search(self, text: str, **_: object) -> SearchResult:
        self.let_go.wait(60)
        return SearchResult(Outcome.NOTHING_FOUND, "late")


async def test_a_search_that_stands_still_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.documentation.search.SEARCH_WITHIN_S", 0.01)
    backend = StandingBackend(IndexStore(tmp_path))
    docs = DocsSearch(backend)

    result = await docs.search("boards", caller_version="17.4.0", limit=4)
    backend.let_go.set()
    docs.close()

    assert result.outcome is Outcome.STOPPED
    assert "Ask again" in result.reason
