"""Unanswered questions become a worklist; golden ones are checked after each change of an index."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import structlog

from docsearch.backend import LocalBackend
from docsearch.golden import GoldenEntry
from docsearch.models import GoldenCheck, GoldenQuestion, UnansweredQuestion
from docsearch.results import Outcome, SearchResult
from docsearch.search import search_docs
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from gateway.documentation.questions import UnansweredLog, check_changed
from gateway.documentation.search import DocsSearch
from tests.unit.docsearch.pages import install

pytestmark = pytest.mark.django_db

BOARDS = "# Issue boards\n\nCards in lists.\n"
NOW = datetime(2026, 5, 1, tzinfo=UTC)
VERSION = GitLabVersion(17, 4, 0)
NOTHING = SearchResult(Outcome.NOTHING_FOUND, searched_version=VERSION)


@pytest.fixture
def store(tmp_path: Path) -> IndexStore:
    store = IndexStore(tmp_path / "store")
    install(store, tmp_path, boards=BOARDS)
    return store


def unanswered(most: int = 100) -> UnansweredLog:
    return UnansweredLog(most, now=lambda: NOW)


# --- Unanswered -----------------------------------------------------------------------------------


def test_only_what_was_not_answered_is_kept_and_redacted(store: IndexStore) -> None:
    log = unanswered()
    for question in (
        "issue boards",
        "Frobnicate kubernetes at 10.0.0.1?",
        "frobnicate kubernetes at 192.168.0.7",
        "?!",
    ):
        log.note(question, search_docs(store, question))

    log.write()

    (row,) = UnansweredQuestion.objects.all()
    assert row.question == "frobnicate kubernetes at […]"
    assert (row.times, row.outcome, row.gitlab_version) == (2, "nothing_found", "17.4.0")
    assert row.first_asked_at == row.last_asked_at == NOW


async def test_each_answer_is_told_to_who_wants_to_note_it(store: IndexStore) -> None:
    noted: list[tuple[str, SearchResult]] = []
    docs = DocsSearch(LocalBackend(store), note=lambda *told: noted.append(told))

    answer = await docs.search("frobnicate", caller_version="17.4.0", limit=4)
    docs.close()

    assert noted == [("frobnicate", answer)]


def test_a_question_asked_again_is_counted_and_stays_dealt_with() -> None:
    log = unanswered()
    log.note("frobnicate", NOTHING)
    log.write()
    assert UnansweredQuestion.objects.open().deal_with() == 1
    log.note("frobnicate", NOTHING)

    log.write()

    assert UnansweredQuestion.objects.get().times == 2
    assert not UnansweredQuestion.objects.open().exists()


def test_those_asked_longest_ago_give_way() -> None:
    for day, question in enumerate(["first", "second", "third"]):
        asked_at = NOW + timedelta(days=day)
        log = UnansweredLog(2, now=partial(asked_at.replace, tzinfo=UTC))
        log.note(question, NOTHING)
        log.write()

    kept = UnansweredQuestion.objects.values_list("question", flat=True)
    assert {*kept} == {"second", "third"}


def test_a_flood_between_two_writes_is_bounded() -> None:
    log = unanswered(most=1000)
    for number in range(26**3):
        word = "".join(chr(97 + number // 26**place % 26) for place in range(3))
        log.note(f"frob {word}", NOTHING)

    log.write()

    assert UnansweredQuestion.objects.count() == 200


# --- Golden ---------------------------------------------------------------------------------------


def golden(*entries: GoldenEntry) -> None:
    GoldenQuestion.objects.replace_all(entries)


def test_each_index_is_checked_once_until_it_or_the_questions_change(
    store: IndexStore, tmp_path: Path
) -> None:
    golden(GoldenEntry("issue boards", "boards.md"))

    (first,) = check_changed(LocalBackend(store))
    assert check_changed(LocalBackend(store)) == []
    install(store, tmp_path, cards=BOARDS)
    with structlog.testing.capture_logs() as logged:
        (changed,) = check_changed(LocalBackend(store))
    golden(GoldenEntry("issue boards", "cards.md"))
    (corrected,) = check_changed(LocalBackend(store))

    assert first.is_passed
    assert not changed.is_passed
    assert changed.failures == [
        {"question": "issue boards", "page": "boards.md", "anchor": "", "found": ["cards.md"]}
    ]
    assert [event["log_level"] for event in logged] == ["warning"]
    assert corrected.is_passed
    assert GoldenCheck.objects.current(GoldenQuestion.objects.entries()).get() == corrected


def test_an_index_that_was_rolled_back_has_its_check_already(
    store: IndexStore, tmp_path: Path
) -> None:
    golden(GoldenEntry("issue boards", "boards.md"))
    check_changed(LocalBackend(store))
    install(store, tmp_path, cards=BOARDS)
    check_changed(LocalBackend(store))

    store.rollback(VERSION)

    assert check_changed(LocalBackend(store)) == []
    assert (
        GoldenCheck.objects.of(store.digest_of(VERSION), GoldenQuestion.objects.entries())
        .get()
        .is_passed
    )


def test_without_golden_questions_nothing_is_checked(store: IndexStore) -> None:
    assert check_changed(LocalBackend(store)) == []


def test_a_row_of_a_form_keeps_to_the_rules_of_a_file() -> None:
    row = GoldenQuestion(question=" boards? ", page="/boards.md", anchor="#lists")
    row.full_clean()

    assert (row.question, row.page, row.anchor) == ("boards?", "boards.md", "lists")
