"""What the documentation did not answer, and whether it still answers what it must.

Both are rows of the database, so both are written beside the requests and never by one.
"""

from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime

import structlog
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from docsearch.errors import SearchStopped
from docsearch.golden import GoldenEntry, check_golden_questions
from docsearch.models import GoldenCheck, GoldenQuestion, UnansweredQuestion
from docsearch.redaction import redact
from docsearch.results import Outcome, SearchResult
from docsearch.search import search_docs
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 10.0
CHECK_EVERY_S = 30.0
#: Between two writes; what is asked beyond is not kept.
_MOST_WAITING = 200
_UNANSWERED = {Outcome.NOTHING_FOUND, Outcome.NOT_DOCUMENTED}


class UnansweredLog:
    """Collects, in memory, the questions of one worker that were not answered.

    Args:
        most: Rows that are kept of all workers'.
        now: The time, in UTC.
    """

    def __init__(self, most: int, now: Callable[[], datetime] = timezone.now) -> None:
        self._most = most
        self._now = now
        self._waiting: deque[tuple[str, Outcome, str]] = deque(maxlen=_MOST_WAITING)

    def note(self, question: str, result: SearchResult) -> None:
        """Keep what may be kept of a question that was not answered; any thread may call it."""
        if result.outcome in _UNANSWERED and (redacted := redact(question)):
            version = str(result.searched_version or "")
            self._waiting.append((redacted.casefold(), result.outcome, version))

    def write(self) -> None:
        """Store what was collected; blocks.

        Raises:
            DatabaseError, InterfaceError: The database is away; what was collected is kept.
        """
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        rows = [
            UnansweredQuestion(
                question=question,
                outcome=outcome,
                gitlab_version=version,
                times=times,
                last_asked_at=self._now(),
            )
            for (question, outcome, version), times in Counter(taken).items()
        ]
        if not rows:
            return
        try:
            UnansweredQuestion.objects.count_asked(rows, most=self._most)
        except (DatabaseError, InterfaceError):
            self._waiting.extendleft(reversed(taken))
            raise


def check_installed(store: IndexStore, entries: tuple[GoldenEntry, ...]) -> list[GoldenCheck]:
    """Ask every installed index the golden questions; reads no database.

    Raises:
        SearchStopped: The search is busy.
    """
    return [_check(store, version, entries) for version in store.installed()]


def check_changed(store: IndexStore) -> list[GoldenCheck]:
    """Ask each index that was not yet asked these golden questions; returns the new checks.

    Who installed the index, and how, makes no difference, nor which node looks.
    """
    entries = GoldenQuestion.objects.entries()
    if not entries:
        return []
    made = []
    for version in store.installed():
        if GoldenCheck.objects.of(store.digest_of(version), entries).exists():
            continue
        try:
            check = _check(store, version, entries)
        except SearchStopped:
            continue  # requests go first; the next look is soon
        GoldenCheck.objects.record(check)
        tell = log.info if check.is_passed else log.warning
        tell(
            "golden_questions.checked",
            version=check.gitlab_version,
            passed=check.passed,
            total=check.total,
        )
        made.append(check)
    return made


def _check(
    store: IndexStore, version: GitLabVersion, entries: tuple[GoldenEntry, ...]
) -> GoldenCheck:
    def search(question: str, limit: int) -> SearchResult:
        result = search_docs(store, question, wanted_version=version, limit=limit)
        if result.outcome is Outcome.STOPPED:
            raise SearchStopped(result.reason)
        return result

    digest = store.digest_of(version)
    failures = check_golden_questions(entries, search)
    return GoldenCheck.of(str(version), digest, entries, failures)
