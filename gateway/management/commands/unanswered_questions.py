import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from docsearch.models import UnansweredQuestion


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "List the questions the documentation did not answer, most often asked first. They are "
        "kept, without what looks private, while DOCS_UNANSWERED_QUESTIONS is not 0. Examples: "
        "unanswered_questions --json; unanswered_questions --forget"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="for machines")
        parser.add_argument("--forget", action="store_true", help="delete all that are kept")

    def handle(self, *, as_json: bool, forget: bool, **_: Any) -> None:
        if forget:
            count, _deleted = UnansweredQuestion.objects.all().delete()
            self.stdout.write(f"{count} questions are forgotten.")
            return
        rows = UnansweredQuestion.objects.open()
        if as_json:
            self.stdout.write(json.dumps([_data_of(row) for row in rows], indent=2))
            return
        if not rows:
            self.stdout.write(
                "No unanswered question is kept."
                if settings.DOCS_UNANSWERED_QUESTIONS
                else "None is kept: set DOCS_UNANSWERED_QUESTIONS to how many may be."
            )
        for row in rows:
            self.stdout.write(
                f"{row.times} x {row.question} ({row.outcome}, GitLab {row.gitlab_version}, last "
                f"{row.last_asked_at:%Y-%m-%d})"
            )


def _data_of(row: UnansweredQuestion) -> dict[str, Any]:
    return {
        "question": row.question,
        "times": row.times,
        "outcome": row.outcome,
        "gitlab_version": row.gitlab_version,
        "first_asked_at": row.first_asked_at.isoformat(timespec="seconds"),
        "last_asked_at": row.last_asked_at.isoformat(timespec="seconds"),
    }
