"""What the documentation did not answer, and whether it still answers what it must.

Both are rows of the database, so both are written beside the requests and never by one.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

import structlog
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from docsearch.backend import SearchBackend
from docsearch.errors import DocsIndexError, SearchStopped
from docsearch.golden import GoldenEntry, check_golden_questions
from docsearch.models import GoldenCheck, GoldenQuestion, UnansweredQuestion
from docsearch.redaction import redact
from docsearch.results import Outcome, SearchResult
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


def check_now(backend: SearchBackend, entries: Sequence[GoldenEntry]) -> list[GoldenCheck]:
    """Ask whatever is searched the golden questions; reads no database.

    Raises:
        DocsIndexError: The search is busy, or cannot be done.
    """
    return [
        _check(backend, version, digest, entries) for version, digest in backend.digests().items()
    ]


def check_changed(backend: SearchBackend) -> list[GoldenCheck]:
    """Ask each index that was not yet asked these golden questions; returns the new checks.

    Who installed the index, and how, makes no difference, nor which node looks. What cannot be
    asked now is asked at the next look.
    """
    entries = GoldenQuestion.objects.entries()
    made: list[GoldenCheck] = []
    if not entries:
        return made
    with suppress(DocsIndexError):
        for version, digest in backend.digests().items():
            if GoldenCheck.objects.of(digest, entries).exists():
                continue
            check = _check(backend, version, digest, entries)
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
    backend: SearchBackend, version: GitLabVersion, digest: str, entries: Sequence[GoldenEntry]
) -> GoldenCheck:
    def search(question: str, limit: int) -> SearchResult:
        result = backend.search(question, wanted_version=version, limit=limit)
        if result.outcome in {Outcome.STOPPED, Outcome.NO_INDEX}:
            raise SearchStopped(result.reason)
        return result

    failures = check_golden_questions(entries, search)
    return GoldenCheck.of(str(version), digest, entries, failures)
