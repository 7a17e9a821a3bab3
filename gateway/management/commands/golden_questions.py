import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from django.core.management.base import BaseCommand, CommandError, CommandParser

from docsearch.errors import DocsIndexError, GoldenQuestionsInvalid
from docsearch.golden import MAX_FILE_BYTES, parse_golden_questions
from docsearch.models import GoldenCheck, GoldenQuestion
from docsearch.progress import waiting_for
from gateway.documentation.engine import open_backend
from gateway.documentation.questions import check_now

_STDIN = "-"


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Questions of this site, and the pages of the documentation that must answer them. "
        "Every node checks them by itself after each change of an index. Exit status: 0 all are "
        "answered; 1 one is not, or there is no index; 2 the file or the arguments are wrong. "
        "Examples: golden_questions import questions.yml; golden_questions check"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for name, text, example in (
            ("import", "let the questions of FILE be the golden ones", "import questions.yml"),
            ("export", "write them as a file that `import` reads", "export > questions.yml"),
            ("check", "ask this node's indexes now", "check --json"),
            ("results", "show how the last checks went, on any node", "results --json"),
        ):
            description = f"{text.capitalize()}. Example: golden_questions {example}"
            action = actions.add_parser(name, help=text, description=description)
            if name == "import":
                action.add_argument(
                    "file", metavar="FILE", help="YAML: a list of question, page, anchor"
                )
            elif name != "export":
                action.add_argument(
                    "--json", action="store_true", dest="as_json", help="for machines"
                )

    def handle(self, *, action: str, **options: Any) -> None:
        run: Callable[..., None] = getattr(self, f"_{action}")
        run(**options)

    def _import(self, *, file: str, **_: Any) -> None:
        try:
            entries = parse_golden_questions(_read(file))
        except GoldenQuestionsInvalid as error:
            raise CommandError(f"{error}\nNothing was changed.", returncode=2) from error
        except OSError as error:
            raise CommandError(
                f"{file} cannot be read: {error.strerror or error}. Nothing was changed.",
                returncode=2,
            ) from error
        GoldenQuestion.objects.replace_all(entries)
        self.stdout.write(
            f"{len(entries)} golden questions. Check them now with: manage.py golden_questions "
            "check; the gateway checks them within a minute."
        )

    def _export(self, **_: Any) -> None:
        entries = [
            {"question": entry.question, "page": entry.page}
            | ({"anchor": entry.anchor} if entry.anchor else {})
            for entry in GoldenQuestion.objects.entries()
        ]
        self.stdout.write(yaml.safe_dump(entries, allow_unicode=True, sort_keys=False).rstrip())

    def _check(self, *, as_json: bool, **_: Any) -> None:
        entries = GoldenQuestion.objects.entries()
        if not entries:
            raise CommandError(
                "There are no golden questions. Write some, and: manage.py golden_questions import "
                "FILE",
                returncode=2,
            )
        asked = f"the documentation search, which is asked {len(entries)} questions"
        try:
            with waiting_for(asked), open_backend() as backend:
                checks = check_now(backend, entries)
        except DocsIndexError as error:
            raise CommandError(str(error)) from error
        if not checks:
            raise CommandError(
                "No documentation index is installed on this node, or in the search engine."
            )
        for check in checks:
            GoldenCheck.objects.record(check)
        self._tell(checks, as_json=as_json)
        if not all(check.is_passed for check in checks):
            raise CommandError(
                "Some questions are not answered by their page. Search for them with search_docs; "
                "if the page has moved, change the question's page; if the index is to blame, go "
                "back with install_docs_index --rollback."
            )

    def _results(self, *, as_json: bool, **_: Any) -> None:
        checks = [*GoldenCheck.objects.current(GoldenQuestion.objects.entries())]
        self._tell(checks, as_json=as_json)

    def _tell(self, checks: list[GoldenCheck], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps([_data_of(check) for check in checks], indent=2))
            return
        if not checks:
            self.stdout.write("These golden questions were not checked yet.")
        for check in checks:
            self.stdout.write(
                f"{check}, checked {check.checked_at:%Y-%m-%d %H:%M} UTC, index "
                f"{check.index_digest[:12]}"
            )
            for failure in check.failures:
                wanted = failure["page"] + ("#" + failure["anchor"] if failure["anchor"] else "")
                found = ", ".join(failure["found"]) or "nothing"
                self.stdout.write(f"  {failure['question']}\n    not {wanted}, but {found}")


def _read(file: str) -> bytes:
    if file == _STDIN:
        return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    with Path(file).open("rb") as content:
        return content.read(MAX_FILE_BYTES + 1)


def _data_of(check: GoldenCheck) -> dict[str, Any]:
    return {
        "gitlab_version": check.gitlab_version,
        "index": check.index_digest,
        "total": check.total,
        "passed": check.passed,
        "failures": check.failures,
        "checked_at": check.checked_at.isoformat(timespec="seconds"),
    }
