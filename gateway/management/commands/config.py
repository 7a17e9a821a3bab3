import json
import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from gateway.audit import Attribution, Origin, system_user
from gateway.configuration.applying import (
    Outcome,
    apply_document,
    plan_document,
    rehearse_restore,
    restore_document,
)
from gateway.configuration.document import Data, Document
from gateway.configuration.errors import (
    ConfigurationError,
    DocumentInvalid,
    HistoryBusy,
    Problem,
)
from gateway.configuration.exporting import to_yaml
from gateway.configuration.history import has_unattributed_change, revision_of, stored_data
from gateway.configuration.keys import KeyReader
from gateway.configuration.parsing import MAX_BYTES, document_of, parse_document
from gateway.configuration.planning import Action, Change, difference
from gateway.configuration.stored import read_configuration
from gateway.models import Revision

UNHEALTHY, MISUSED = 1, 2
_STDIO = "-"
MAX_ROWS = 10_000
_EXAMPLES = {
    "plan": "Examples: config plan duo.yml; config plan --check --prune duo.yml",
    "apply": 'Examples: config apply duo.yml --reason "more memory"; config apply - < duo.yml',
    "export": "Examples: config export > duo.yml; config export duo.yml",
    "revisions": "Example: config revisions --limit 5 --json",
    "diff": "Examples: config diff 6; config diff 6 7",
    "rollback": 'Examples: config rollback 6 --dry-run; config rollback 6 --reason "too slow"',
    "check-revision": "Examples: config check-revision; config check-revision 6",
}


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "The configuration as code: plan, apply and export a document; list, compare and "
        "restore revisions. Exit status: 0 good; 1 `plan --check` found a difference, or the "
        "database cannot be used; 2 the document or the arguments are wrong. Examples: config "
        'plan duo.yml --check; config apply duo.yml --reason "more memory"; config export '
        "duo.yml; config rollback 7 --dry-run"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

        def add(name: str, text: str) -> Any:
            description = f"{text} {_EXAMPLES[name]}"
            action = actions.add_parser(name, help=text, description=description)
            action.add_argument("--json", action="store_true", help="for machines")
            return action

        plan = add("plan", "Print what `apply` would change; change nothing.")
        plan.add_argument("--check", action="store_true", help="exit 1 if something would change")
        apply = add("apply", "Make the stored configuration what FILE says: all of it, or nothing.")
        for action in (plan, apply):
            action.add_argument("file", metavar="FILE", help="a YAML document; - is stdin")
            action.add_argument(
                "--prune",
                action="store_true",
                help="delete the deployments FILE does not name, unassign the features",
            )
        export = add("export", "Write the stored configuration as a document that `apply` reads.")
        export.add_argument("file", metavar="FILE", nargs="?", default=_STDIO, help="- is stdout")
        revisions = add("revisions", "List the revisions, newest first.")
        revisions.add_argument("--limit", type=_count, default=20, help="how many (20)")
        diff = add("diff", "Print what leads from revision A to B, or to what is stored now.")
        diff.add_argument("first", metavar="A", type=int)
        diff.add_argument("second", metavar="B", type=int, nargs="?")
        rollback = add("rollback", "Make the whole configuration what it was in revision N.")
        rollback.add_argument("number", metavar="N", type=int)
        rollback.add_argument("--dry-run", action="store_true", help="only print what would change")
        check = add(
            "check-revision",
            "Put revision N, or what is stored now, through the rules of this version, as an "
            "upgrade would; change nothing. Exit status 1 if a rule refuses it.",
        )
        check.add_argument("number", metavar="N", type=int, nargs="?")
        for action in (apply, rollback):
            action.add_argument("--reason", default="", help="kept in the history")
            action.add_argument("--author", default=system_user(), help="whom the history names")

    def handle(self, *, action: str, **options: Any) -> None:
        run: Callable[..., None] = getattr(self, "_" + action.replace("-", "_"))
        with _expected_failures():
            run(**options)

    # --- Documents --------------------------------------------------------------------------------

    def _plan(self, *, file: str, prune: bool, check: bool, **options: Any) -> None:
        with self._problems_of(file, options):
            document, keys = _read(file)
            by = Attribution(system_user(), Origin.FILE)
            outcome = plan_document(document, by, keys, prune=prune)
        self._tell(outcome, options)
        if check and outcome.changes:
            raise CommandError("The stored configuration is not what the file says.", returncode=1)

    def _apply(self, *, file: str, prune: bool, author: str, reason: str, **options: Any) -> None:
        with self._problems_of(file, options):
            document, keys = _read(file)
            by = Attribution(author, Origin.FILE, reason)
            outcome = apply_document(document, by, keys, prune=prune)
        self._tell(outcome, options)

    def _export(self, *, file: str, **options: Any) -> None:
        document = read_configuration().document()
        text = _json(document.to_data()) if options["json"] else to_yaml(document)
        if file == _STDIO:
            self.stdout.write(text, ending="")
            return
        try:
            Path(file).write_text(text, encoding="utf-8")
        except OSError as error:
            _refuse(f"{file} cannot be written: {error.strerror}.")

    # --- Revisions --------------------------------------------------------------------------------

    def _revisions(self, *, limit: int, **options: Any) -> None:
        rows = list(Revision.objects.order_by("-number")[:limit])
        if options["json"]:
            self.stdout.write(_json([_revision_data(row) for row in rows]), ending="")
            return
        for row in rows:
            at = f"{row.created_at:%Y-%m-%d %H:%M:%S}"
            line = f"{row.number:>5}  {at} UTC  {row.digest}  {row.origin:<8} {row.author}"
            self.stdout.write(f"{line}: {row.reason}" if row.reason else line)
        if has_unattributed_change():
            self.stderr.write(
                "What is stored now was changed outside of the pages, the API and the commands; "
                "the next change records it as a revision of its own."
            )

    def _diff(self, *, first: int, second: int | None, **options: Any) -> None:
        self._tell_changes(difference(_data(first), _data(second)), options)

    def _rollback(
        self, *, number: int, author: str, reason: str, dry_run: bool, **options: Any
    ) -> None:
        by = Attribution(author, Origin.COMMAND, reason or f"Rolled back to revision {number}.")
        restore = rehearse_restore if dry_run else restore_document
        with self._problems_of(f"revision {number}", options):
            outcome = restore(document_of(_data(number)), by)
        self._tell(outcome, options)

    def _check_revision(self, *, number: int | None, **options: Any) -> None:
        name = "What is stored now" if number is None else f"Revision {number}"
        by = Attribution(system_user(), Origin.COMMAND)
        with self._problems_of(name, options, returncode=UNHEALTHY):
            outcome = rehearse_restore(document_of(_data(number)), by)
        if options["json"]:
            self._tell(outcome, options)
            return
        for note in outcome.notes:
            self.stdout.write(note)
        self.stdout.write(f"{name} keeps every rule of this version.")

    # --- Telling ----------------------------------------------------------------------------------

    def _tell(self, outcome: Outcome, options: dict[str, Any]) -> None:
        revision = outcome.revision
        told = _revision_data(revision) if revision else None
        self._tell_changes(outcome.changes, options, notes=outcome.notes, revision=told)
        if options["json"]:
            return
        for note in outcome.notes:
            self.stdout.write(note)
        if revision:
            self.stdout.write(f"Saved as revision {revision.number} ({revision.digest}).")

    def _tell_changes(
        self, changes: Sequence[Change], options: dict[str, Any], **more: Any
    ) -> None:
        if options["json"]:
            data = {"changes": [change.to_data() for change in changes], **more}
            self.stdout.write(_json(data), ending="")
            return
        styles = {
            Action.ADDED: self.style.SUCCESS,
            Action.CHANGED: self.style.WARNING,
            Action.REMOVED: self.style.ERROR,
        }
        for change in changes:
            self.stdout.write(styles[change.action](str(change)))
        self.stdout.write(_summary(changes))

    @contextmanager
    def _problems_of(
        self, source: str, options: dict[str, Any], returncode: int = MISUSED
    ) -> Iterator[None]:
        """Tell everything that is wrong with a document, with its lines."""
        try:
            yield
        except DocumentInvalid as error:
            if options["json"]:
                problems = [_problem_data(problem) for problem in error.problems]
                self.stdout.write(_json({"problems": problems}), ending="")
            name = "<stdin>" if source == _STDIO else source
            lines = [
                f"{name}:{problem.line}: {problem}" if problem.line else f"{name}: {problem}"
                for problem in error.problems
            ]
            raise CommandError(
                "\n".join([*lines, "Nothing was changed."]), returncode=returncode
            ) from error


@contextmanager
def _expected_failures() -> Iterator[None]:
    try:
        yield
    except HistoryBusy as error:
        raise CommandError(error.safe_message, returncode=UNHEALTHY) from error
    except ConfigurationError as error:
        raise CommandError(error.safe_message, returncode=MISUSED) from error
    except DatabaseError as error:
        # Not the driver's own words: they may hold the address and the user.
        raise CommandError(
            f"The database cannot be used ({type(error).__name__}): check that it is up, that "
            "DATABASE_URL is right, and that `manage.py migrate` was run. Nothing was changed.",
            returncode=UNHEALTHY,
        ) from error


def _read(file: str) -> tuple[Document, KeyReader]:
    """Return the document, and what reads the keys it refers to."""
    try:
        if file == _STDIO:
            source, folder = sys.stdin.buffer.read(MAX_BYTES + 1), Path()
        else:
            with Path(file).open("rb") as opened:
                source, folder = opened.read(MAX_BYTES + 1), Path(file).parent
    except OSError as error:
        _refuse(f"{file} cannot be read: {error.strerror}.")
    return parse_document(source), KeyReader(os.environ, folder)


def _data(number: int | None) -> Data:
    """Return the document of a revision, or of what is stored now."""
    return revision_of(number).document if number is not None else stored_data()


def _count(text: str) -> int:
    """Return how many rows are wanted."""
    if not text.isdecimal() or not 1 <= int(text) <= MAX_ROWS:
        raise ArgumentTypeError(f"{text} is not a number of 1 to {MAX_ROWS}")
    return int(text)


def _refuse(message: str) -> NoReturn:
    raise CommandError(message, returncode=MISUSED)


def _summary(changes: Sequence[Change]) -> str:
    counts = [
        f"{count} {action}"
        for action in Action
        if (count := sum(change.action is action for change in changes))
    ]
    return f"{', '.join(counts)}." if counts else "Nothing differs."


def _revision_data(row: Revision) -> dict[str, Any]:
    return {
        "number": row.number,
        "digest": row.digest,
        "author": row.author,
        "origin": row.origin,
        "reason": row.reason,
        "created_at": row.created_at.isoformat(),
    }


def _problem_data(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line, "path": problem.path, "message": problem.message}


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
