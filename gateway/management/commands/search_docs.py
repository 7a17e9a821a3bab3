import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from docsearch.errors import VersionInvalid
from docsearch.progress import waiting_for
from docsearch.results import Outcome, SearchResult
from docsearch.search import MAX_LIMIT, MAX_PASSAGE_TOKENS
from gateway.documentation.engine import open_backend
from gateway.documentation.wanted_version import wanted_version

_DEFAULT_LIMIT = 5
_NOT_INSTALLED = "Build one with: manage.py build_docs_index SRC --gitlab-version V --install"
_NOT_IN_ENGINE = (
    "See that the search engine of DOCS_SEARCH_URL answers; `manage.py load_docs_index` puts an "
    "installed index there."
)


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        'Search the installed documentation of GitLab. Examples: search_docs "how do I reset a '
        'password"; search_docs runners --gitlab-version 17.4.0 --json'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("query", nargs="?", metavar="QUERY", help="in any words")
        parser.add_argument(
            "--gitlab-version", metavar="V", help="as in 17.4.0; default: GITLAB_VERSION, or newest"
        )
        parser.add_argument("--limit", type=int, default=_DEFAULT_LIMIT, help=f"1 to {MAX_LIMIT}")
        parser.add_argument("--json", action="store_true", dest="as_json", help="for machines")
        parser.add_argument(
            "--stdio",
            action="store_true",
            help='answer {"query", "limit", "gitlab_version"} on each line of the input with JSON',
        )

    def handle(
        self,
        *,
        query: str | None,
        gitlab_version: str | None,
        limit: int,
        as_json: bool,
        stdio: bool,
        **_: Any,
    ) -> None:
        if (query is None) != stdio:
            raise CommandError("Give a QUERY or --stdio, not both.", returncode=2)
        wanted_version()  # what is wrong with the setting is no fault of a line
        with open_backend() as self.backend:
            if stdio:
                for line in sys.stdin.buffer:
                    self.stdout.write(json.dumps(self._answer_line(line, gitlab_version)))
                    self.stdout.flush()
                return
            try:
                with waiting_for("the documentation search"):
                    result = self._search(query or "", gitlab_version, limit)
            except VersionInvalid as error:
                raise CommandError(str(error), returncode=2) from error
        self.stdout.write(json.dumps(as_document(result)) if as_json else as_text(result))
        if result.outcome is Outcome.NO_INDEX:
            raise CommandError(_NOT_IN_ENGINE if settings.DOCS_SEARCH_URL else _NOT_INSTALLED)

    def _search(self, query: str, version: str | None, limit: int) -> SearchResult:
        if not 1 <= limit <= MAX_LIMIT:
            raise CommandError(f"The limit is a number from 1 to {MAX_LIMIT}.", returncode=2)
        return self.backend.search(
            query,
            wanted_version=wanted_version(version),
            limit=limit,
            token_budget=limit * MAX_PASSAGE_TOKENS,
        )

    def _answer_line(self, line: bytes, wanted: str | None) -> dict[str, Any]:
        """Answer one line; a bad one is answered too, so that whoever writes them keeps in step."""
        try:
            asked = _read_line(line)
            result = self._search(
                asked["query"],
                asked.get("gitlab_version") or wanted,
                asked.get("limit", _DEFAULT_LIMIT),
            )
        except (ValueError, RecursionError, VersionInvalid, CommandError) as error:
            return {"results": [], "outcome": "bad_request", "reason": str(error)}
        return as_document(result)


def _read_line(line: bytes) -> dict[str, Any]:
    asked = json.loads(line)
    if not (
        isinstance(asked, dict)
        and isinstance(asked.get("query"), str)
        and isinstance(asked.get("limit", 1), int)
        and isinstance(asked.get("gitlab_version") or "", str)
    ):
        raise CommandError('A line is {"query": text, "limit": number, "gitlab_version": text}.')
    return asked


def as_document(result: SearchResult) -> dict[str, Any]:
    """Return the JSON document of a result."""
    return {
        "results": [
            {
                "path": passage.path,
                "anchor": passage.anchor,
                "title": passage.title,
                "headings": list(passage.trail),
                "url": passage.url,
                "score": round(passage.score, 4),
                "content": passage.content,
            }
            for passage in result.passages
        ],
        "outcome": result.outcome,
        "reason": result.reason,
        "warning": result.warning,
        "match": round(result.match, 4),
        "shown_query": result.shown_query,
        "gitlab_version": str(result.searched_version or ""),
    }


def as_text(result: SearchResult) -> str:
    """Return a result as people read it."""
    notes = [result.warning, result.reason]
    if result.shown_query:
        notes.append(f"Showing results for: {result.shown_query}")
    entries = [
        f"[{number}] {' > '.join((passage.title, *passage.trail))}\n{passage.url}\n\n"
        f"{passage.content}\n"
        for number, passage in enumerate(result.passages, start=1)
    ]
    return "\n".join([*filter(None, notes), *entries])
