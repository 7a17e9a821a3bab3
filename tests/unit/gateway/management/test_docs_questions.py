"""`golden_questions` and `unanswered_questions`, as they are typed."""

import io
import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from pytest_django import Settings

from docsearch.models import GoldenQuestion, UnansweredQuestion
from docsearch.store import IndexStore
from tests.unit.docsearch.pages import install

pytestmark = pytest.mark.django_db

QUESTIONS = "- question: issue boards\n  page: boards.md\n"


@pytest.fixture(autouse=True)
def store(settings: Settings, tmp_path: Path) -> IndexStore:
    settings.DATA_DIR = tmp_path / "data"
    return IndexStore.below(settings.DATA_DIR)


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue()


def golden(folder: Path, text: str = QUESTIONS) -> str:
    file = folder / "golden.yml"
    file.write_text(text)
    return run("golden_questions", "import", str(file))


def test_golden_questions_are_imported_checked_and_exported(
    store: IndexStore, tmp_path: Path
) -> None:
    install(store, tmp_path, boards="# Issue boards\n\nCards.\n")

    assert "1 golden questions" in golden(tmp_path)
    assert "GitLab 17.4.0: 1 of 1" in run("golden_questions", "check")
    (result,) = json.loads(run("golden_questions", "results", "--json"))
    assert (result["passed"], result["failures"]) == (1, [])
    assert run("golden_questions", "export") == QUESTIONS


def test_an_unanswered_golden_question_is_told_and_exits_1(
    store: IndexStore, tmp_path: Path
) -> None:
    install(store, tmp_path, cards="# Issue boards\n\nCards.\n")
    golden(tmp_path)

    with pytest.raises(CommandError, match="--rollback") as failed:
        run("golden_questions", "check")

    assert failed.value.returncode == 1
    assert "not boards.md, but cards.md" in run("golden_questions", "results")


def test_a_bad_file_changes_nothing_and_exits_2(tmp_path: Path) -> None:
    golden(tmp_path)

    with pytest.raises(CommandError, match="Nothing was changed") as failed:
        golden(tmp_path, "- question: only\n")

    assert failed.value.returncode == 2
    assert GoldenQuestion.objects.get().question == "issue boards"
    with pytest.raises(CommandError, match="No such file"):
        run("golden_questions", "import", str(tmp_path / "absent.yml"))


def test_what_is_missing_for_a_check_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no golden questions"):
        run("golden_questions", "check")
    golden(tmp_path)
    with pytest.raises(CommandError, match="No documentation index"):
        run("golden_questions", "check")

    assert "not checked yet" in run("golden_questions", "results")


def test_unanswered_questions_are_listed_and_forgotten() -> None:
    assert "set DOCS_UNANSWERED_QUESTIONS" in run("unanswered_questions")
    now = timezone.now()
    UnansweredQuestion.objects.count_asked(
        [
            UnansweredQuestion(
                question="frobnicate",
                outcome="nothing_found",
                gitlab_version="17.4.0",
                times=3,
                last_asked_at=now,
            )
        ],
        most=10,
    )

    assert run("unanswered_questions").startswith("3 x frobnicate (nothing_found, GitLab 17.4.0")
    (row,) = json.loads(run("unanswered_questions", "--json"))
    assert (row["question"], row["times"]) == ("frobnicate", 3)
    assert "1 questions are forgotten" in run("unanswered_questions", "--forget")
    assert not UnansweredQuestion.objects.exists()
