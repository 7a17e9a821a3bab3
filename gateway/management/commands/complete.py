from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway.operations.completion import completions


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Print what the last of the words may become, one a line. Shells ask it, once "
        "deploy/completion.bash is sourced. Example: complete -- config plan --ch"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("words", nargs="*", metavar="WORD", help="of a command line, after --")

    def handle(self, *, words: list[str], **_: Any) -> None:
        for word in completions(words):
            self.stdout.write(word)
