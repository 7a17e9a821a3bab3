"""`build_docs_index` and `search_docs`, as they are typed."""

import io
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from selfhosted_models.errors import SettingInvalid
from tests.unit.docsearch.conftest import DOCUMENTATION


@pytest.fixture(autouse=True)
def _own_data_dir(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "data"
    settings.GITLAB_VERSION = ""


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue()


def build(*arguments: str) -> str:
    return run("build_docs_index", str(DOCUMENTATION), "--gitlab-version", "v17.4.0-ee", *arguments)


def ask(*arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run("search_docs", *arguments, "--json"))
    return answer


def test_a_built_and_installed_index_answers() -> None:
    told = build("--install")

    answer = ask("create a board", "--gitlab-version", "17.4.0")

    assert "GitLab 17.4.0: 17 pages" in told
    best = answer["results"][0]
    assert best["path"] == "doc/user/project/issue_board.md"
    assert best["anchor"] == "create-a-board"
    assert best["title"] == "Issue boards"
    assert best["score"] > 0
    assert best["content"].startswith("## Create a board")
    assert answer["gitlab_version"] == "17.4.0"


@pytest.mark.skipif(bool(find_spec("tokenizers")), reason="the extra is installed")
def test_vectors_without_the_extra_are_refused_with_what_to_install() -> None:
    with pytest.raises(CommandError, match=r"-r requirements-hybrid\.txt") as caught:
        build("--vectors", "--install")

    assert caught.value.returncode == 2


@pytest.mark.skipif(bool(find_spec("tokenizers")), reason="the extra is installed")
def test_a_search_by_meaning_without_the_extra_is_refused(settings: Settings) -> None:
    build("--install")
    settings.DOCS_HYBRID = True

    with pytest.raises(SettingInvalid, match=r"-r requirements-hybrid\.txt"):  # told in a sentence
        ask("board")


def test_output_and_url_base_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "out.sqlite3"

    build("--output", str(file), "--url-base", "https://gitlab.example.com/help/", "--install")

    assert file.stat().st_size > 0
    (best, *_) = ask("create a board")["results"]
    assert best["url"].startswith("https://gitlab.example.com/help/user/project/issue_board.md#")


def test_people_are_told_what_was_repaired_and_where_it_stands() -> None:
    build("--install")

    shown = run("search_docs", "regsiter a runner", "--limit", "1")

    assert "Showing results for: register a runner" in shown
    assert "Runners > Register a runner\n/help/ci/runners.md#register-a-runner" in shown


def test_the_wanted_version_of_the_settings_is_searched(settings: Settings) -> None:
    build("--install")
    settings.GITLAB_VERSION = "17.5.0"

    assert "17.5.0" in ask("board")["warning"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["build_docs_index", "nowhere", "--gitlab-version", "17.4.0"], "does not exist"),
        (["build_docs_index", ".", "--gitlab-version", "latest"], "17.4.0"),
        (["search_docs"], "QUERY or --stdio"),
        (["search_docs", "x", "--stdio"], "QUERY or --stdio"),
        (["search_docs", "x", "--gitlab-version", "latest"], "17.4.0"),
        (["search_docs", "x", "--limit", "0"], "1 to 30"),
        (["search_docs", "x", "--limit", "31"], "1 to 30"),
    ],
)
def test_misuse_exits_2_and_says_what_to_give(arguments: list[str], told: str) -> None:
    with pytest.raises(CommandError, match=told) as refused:
        run(*arguments)

    assert refused.value.returncode == 2


def test_a_folder_that_is_missing_is_told_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Give --output a file") as failed:
        build("--output", str(tmp_path / "nowhere" / "docs.sqlite3"))

    assert failed.value.returncode == 1


def test_search_without_an_index_exits_1_and_says_what_to_do() -> None:
    with pytest.raises(CommandError, match="build_docs_index") as failed:
        run("search_docs", "board")

    assert failed.value.returncode == 1


def test_stdio_answers_every_line_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    build("--install")
    lines = [
        b'{"query": "create a board", "limit": 1, "gitlab_version": "17.4.0"}',
        b'{"query": "runner"}',
        b"nonsense",
        b"\xff\xfe",
        b'{"limit": 3}',
        b'{"query": "x", "limit": "many"}',
        b'{"query": "x", "limit": 0}',
        b'{"query": "x", "gitlab_version": "latest"}',
        b'{"query": ""}',
    ]
    stdin = io.TextIOWrapper(io.BytesIO(b"\n".join(lines) + b"\n"))
    monkeypatch.setattr(sys, "stdin", stdin)

    answers = [json.loads(line) for line in run("search_docs", "--stdio").splitlines()]

    assert len(answers) == len(lines)
    assert [bool(answer["results"]) for answer in answers] == [True, True] + [False] * 7
    assert len(answers[0]["results"]) == 1
    assert all(answer["reason"] for answer in answers[2:])
