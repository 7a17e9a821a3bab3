"""The documentation in a search engine, over real sockets, with the official client.

No engine can run here: the other side is `tests/fakes/search_engine.py`.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from docsearch.backend import LocalBackend
from docsearch.golden import GoldenEntry
from docsearch.store import IndexStore
from gateway.documentation.engine import docs_engine_from_settings, open_backend
from gateway.documentation.questions import check_now
from tests.fakes.search_engine import Fault, SearchEngineServer

pytest.importorskip("opensearchpy", reason="the extra of requirements-opensearch.txt")

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
