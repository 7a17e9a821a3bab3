"""The documentation in a search engine, over real sockets, with the official client.

No engine can run here: the other side is `tests/fakes/search_engine.py`.
"""

import asyncio
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from docsearch.backend import LocalBackend
from docsearch.builder import build_index
from docsearch.golden import GoldenEntry
from docsearch.installing import sign_index
from docsearch.signing import load_signing_key
from docsearch.source import read_source
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from gateway.documentation.engine import docs_engine_from_settings, open_backend, open_engine
from gateway.documentation.engine_upkeep import EngineUpkeep, loading_alone
from gateway.documentation.questions import check_now
from gateway.runtime import Runtime, runtime_settings
from tests.fakes.search_engine import Fault, SearchEngineServer

pytest.importorskip("opensearchpy", reason="the extra of requirements-opensearch.txt")

pytestmark = pytest.mark.django_db

DOCUMENTATION = Path(__file__).parents[1] / "documentation"
ALIAS = "gitlab-docs-17.4.0"


@pytest.fixture
def engine(settings: Settings, tmp_path: Path) -> Iterator[SearchEngineServer]:
    """An engine that the settings name, and the small documentation installed on this node."""
    with SearchEngineServer() as server:
        settings.DATA_DIR = tmp_path / "data"
        settings.GITLAB_VERSION = ""
        settings.DOCS_SEARCH_URL, settings.DOCS_SEARCH_TOKEN = server.url, server.token
        build(DOCUMENTATION)
        yield server


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue()


def build(source: Path, version: str = "17.4.0") -> None:
    run("build_docs_index", str(source), "--gitlab-version", version, "--install")


def ask(query: str, *arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run("search_docs", query, "--json", *arguments))
    return answer


def test_what_is_loaded_answers_with_the_same_passages(
    engine: SearchEngineServer, settings: Settings
) -> None:
    assert "loaded" in run("load_docs_index")

    found = ask("create a board")["results"]

    settings.DOCS_SEARCH_URL = ""
    local = ask("create a board")["results"]
    for passage in (*found, *local):
        assert passage.pop("score") > 0
    assert found[0] == local[0]
    by_place = {(passage["path"], passage["anchor"]): passage for passage in local}
    shared = [passage for passage in found if (passage["path"], passage["anchor"]) in by_place]
    assert shared == [by_place[passage["path"], passage["anchor"]] for passage in shared]
    assert len({passage["path"] for passage in found}) == len(found)


def test_a_misspelt_question_is_repaired_and_shown(engine: SearchEngineServer) -> None:
    run("load_docs_index")

    answer = ask("regsiter a runner")

    assert answer["shown_query"] == "register a runner"
    assert answer["results"][0]["path"] == "doc/ci/runners.md"


def test_everyday_words_find_what_the_documentation_calls_it(engine: SearchEngineServer) -> None:
    run("load_docs_index")

    assert ask("mail settings")["results"][0]["path"] == "doc/administration/smtp.md"


def test_nothing_found_not_documented_and_no_index_are_told_apart(
    engine: SearchEngineServer,
) -> None:
    with pytest.raises(CommandError):
        ask("board")
    run("load_docs_index")

    assert ask("xylophone")["outcome"] == "nothing_found"
    assert ask("board xylophone")["outcome"] == "not_documented"
    assert "17.5.0" in ask("board", "--gitlab-version", "17.5.0")["warning"]
    with pytest.raises(CommandError):
        ask("board", "--gitlab-version", "16.0.0")


@pytest.mark.parametrize(
    "query", ["", "?!", 'AND OR NOT NEAR * " ( )', "a\0b", "😀", "x" * 100_000]
)
def test_no_question_is_an_error(engine: SearchEngineServer, query: str) -> None:
    run("load_docs_index")

    with open_backend() as backend:
        assert backend.search(query).outcome in {"found", "nothing_found", "not_documented"}


def test_another_build_takes_the_alias_in_one_step(
    engine: SearchEngineServer, tmp_path: Path
) -> None:
    run("load_docs_index")
    (before,) = engine.aliases[ALIAS]
    assert "was loaded already" in run("load_docs_index")
    source = tmp_path / "doc"
    source.mkdir()
    (source / "cards.md").write_text("# Issue boards\n\nCards in lists.\n" * 20)
    build(tmp_path)

    run("load_docs_index")

    (after,) = engine.aliases[ALIAS]
    assert after != before
    assert before in engine.indexes
    assert ask("issue boards")["results"][0]["path"] == "doc/cards.md"
    swaps = [body for _, path, body in engine.asked if path == "/_aliases"]
    assert [[*action] for action in swaps[-1]["actions"]] == [["remove"], ["add"]]


def test_an_index_that_is_not_taken_whole_is_not_searched(engine: SearchEngineServer) -> None:
    engine.fault = "refuses"
    with pytest.raises(CommandError, match="did not take every section"):
        run("load_docs_index")
    assert not engine.aliases

    engine.fault = None
    run("load_docs_index")

    (index,) = engine.aliases[ALIAS]
    assert len(engine.indexes[index]) == len({json.dumps(d) for d in engine.indexes[index]})
    assert ask("create a board")["results"]


# --- By itself ------------------------------------------------------------------------------------


@contextmanager
def loading(data_dir: Path) -> Iterator[EngineUpkeep]:
    """Be a worker of the node whose data folder this is."""
    place = docs_engine_from_settings()
    assert place
    with open_engine(place) as opened:
        yield EngineUpkeep(IndexStore.below(data_dir), opened)


def build_other(folder: Path, page: str, *, days: int) -> None:
    """Install an index whose one page is `page`.md, made so many days after the others."""
    source = folder / page / "doc"
    source.mkdir(parents=True)
    (source / f"{page}.md").write_text("# Issue boards\n\nCards in lists.\n" * 20)
    file, version = folder / f"{page}.sqlite3", GitLabVersion(17, 4, 0)
    build_index(read_source(source.parent), file, version=version)
    key = load_signing_key(settings.DOCS_SIGNING_KEY)
    sign_index(file, version, key, now=datetime.now(UTC) + timedelta(days=days))
    run("install_docs_index", str(file), "--allow-downgrade")


def first_page(query: str = "create a board") -> str:
    path: str = ask(query)["results"][0]["path"]
    return path


def test_what_is_newly_installed_reaches_the_engine_by_itself_once(
    engine: SearchEngineServer, tmp_path: Path
) -> None:
    with loading(tmp_path / "data") as worker:
        for _ in range(2):
            worker.load_newer()
        assert first_page() == "doc/user/project/issue_board.md"
        build_other(tmp_path, "cards", days=1)

        for _ in range(2):
            worker.load_newer()

    assert first_page() == "doc/cards.md"
    made = [path for method, path, _ in engine.asked if method == "PUT" and "_mapping" not in path]
    assert len(made) == len({*made}) == 2


def test_of_many_nodes_that_installed_an_index_one_loads_it(
    engine: SearchEngineServer, tmp_path: Path
) -> None:
    with loading(tmp_path / "data") as worker, loading_alone():
        worker.load_newer()
        with pytest.raises(CommandError, match="Another node"):
            run("load_docs_index")
    assert not engine.indexes

    shutil.copytree(tmp_path / "data", tmp_path / "other")
    for node in ("data", "other"):
        with loading(tmp_path / node) as worker:
            worker.load_newer()

    assert [path for method, path, _ in engine.asked if path.endswith("_bulk")]
    assert len([path for _, path, _ in engine.asked if path == "/_aliases"]) == 1


def test_an_operator_who_goes_back_is_not_overruled_until_there_is_something_newer(
    engine: SearchEngineServer, tmp_path: Path
) -> None:
    with loading(tmp_path / "data") as worker:
        build_other(tmp_path, "bad", days=1)
        worker.load_newer()
        run("install_docs_index", "--rollback")
        worker.load_newer()
        assert first_page() == "doc/bad.md"

        run("load_docs_index")
        run("install_docs_index", "--rollback")  # another node, which has the newer one still
        worker.load_newer()
        assert first_page() == "doc/user/project/issue_board.md"

        build_other(tmp_path, "good", days=2)
        worker.load_newer()
    assert first_page() == "doc/good.md"
    assert len(engine.indexes) == 2  # this one, and the one before it


def test_what_was_not_loaded_whole_is_loaded_again_and_told_once(
    engine: SearchEngineServer, tmp_path: Path
) -> None:
    with loading(tmp_path / "data") as worker, structlog.testing.capture_logs() as logged:
        engine.fault = "refuses"
        for _ in range(2):
            worker.load_newer()
        engine.fault = None
        worker.load_newer()

    assert [event["event"] for event in logged] == ["docs_engine.not_loaded", "docs_engine.loaded"]
    assert "did not take every section" in logged[0]["reason"]
    assert first_page() == "doc/user/project/issue_board.md"


def test_an_index_of_other_cleaning_rules_is_replaced(
    engine: SearchEngineServer, tmp_path: Path
) -> None:
    with loading(tmp_path / "data") as worker:
        worker.load_newer()
        (name,) = engine.marks
        engine.marks[name]["cleaning_version"] = 0
        build_other(tmp_path, "cards", days=-1)

        worker.load_newer()

    assert first_page() == "doc/cards.md"


@pytest.mark.django_db(transaction=True)
async def test_a_worker_that_serves_loads_what_its_node_has(engine: SearchEngineServer) -> None:
    running = await Runtime.start(runtime_settings())

    assert await asyncio.to_thread(engine.is_swapped.wait, 20)

    await running.aclose()
    assert [*engine.aliases] == [ALIAS]


# --- Failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "outcome", "told"),
    [
        ("cut", "no_index", "broke the connection"),
        ("other", "no_index", "did not answer as OpenSearch does"),
        ("redirect", "no_index", "never followed"),
        ("overloaded", "no_index", "429"),
        ("timed_out", "stopped", "fewer words"),
    ],
)
def test_an_engine_that_fails_is_told_and_never_an_error(
    engine: SearchEngineServer, fault: Fault, outcome: str, told: str
) -> None:
    run("load_docs_index")
    engine.fault = fault

    with open_backend() as backend:
        result = backend.search("board")

    assert result.outcome == outcome
    assert told in result.reason


def test_a_bad_token_is_told_and_not_shown(engine: SearchEngineServer, settings: Settings) -> None:
    settings.DOCS_SEARCH_TOKEN = "search:SENTINEL"

    with pytest.raises(CommandError, match="DOCS_SEARCH_TOKEN") as failed:
        run("load_docs_index")

    assert "SENTINEL" not in str(failed.value)
    assert "SENTINEL" not in repr(docs_engine_from_settings())


def test_an_engine_that_is_away_or_forbidden_is_told(
    engine: SearchEngineServer, settings: Settings
) -> None:
    for url, told in (
        ("http://127.0.0.1:9", "cannot be reached"),
        ("http://169.254.169.254", "never dialled"),
    ):
        settings.DOCS_SEARCH_URL = url
        with pytest.raises(CommandError, match=told):
            run("load_docs_index")


def test_golden_questions_are_asked_of_the_engine(
    engine: SearchEngineServer, settings: Settings
) -> None:
    run("load_docs_index")

    with open_backend() as backend:
        (check,) = check_now(
            backend, [GoldenEntry("create a board", "user/project/issue_board.md")]
        )

    local = LocalBackend(IndexStore.below(settings.DATA_DIR))
    assert check.is_passed
    assert [check.index_digest] == [*local.digests().values()]
