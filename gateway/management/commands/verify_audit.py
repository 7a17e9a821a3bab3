import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from docsearch.progress import waiting_for
from gateway.audit import HEAD, verify


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Check that no audit record and no revision was changed or taken away. Note the head it "
        "prints elsewhere: with --head it later proves that nothing before it was rewritten. "
        "Examples: verify_audit; verify_audit --head 42:<hash printed before>"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--head", default="", help="NUMBER:HASH as printed before")
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *, head: str, json: bool, **_: Any) -> None:
        if head and not HEAD.fullmatch(head):
            raise CommandError("--head is NUMBER:HASH, as this command printed it.", returncode=2)
        with waiting_for("every record, one after the other"):
            found = verify(head)
        if json:
            self.stdout.write(_to_json(asdict(found)))
        else:
            self.stdout.write(f"Records: {found.records}. Revisions: {found.revisions}.")
            self.stdout.write(f"Head: {found.head}")
        if found.problems:
            raise CommandError("\n".join(found.problems), returncode=1)


def _to_json(data: Any) -> str:
    return json.dumps(data, indent=2)
