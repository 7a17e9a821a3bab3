from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandParser

from prompts.loader import shipped_prompts
from prompts.reference import prompt_rows, reference_page


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "List the prompt of each feature and model family, with its version. Examples: "
        "list_prompts --all; list_prompts --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="list GitLab's further prompts too")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="for machines")
        form.add_argument("--markdown", action="store_true", help="the page docs/prompts.md")

    def handle(self, *, all: bool, json: bool, markdown: bool, **_: Any) -> None:
        registry = shipped_prompts().registry
        if markdown:
            self.stdout.write(reference_page(registry), ending="")
            return
        rows = prompt_rows(registry, only_features=not all)
        if json:
            self.stdout.write(orjson.dumps(rows).decode())
            return
        for row in rows:
            feature = row["feature"] or "-"
            self.stdout.write(
                f"{feature:30} {row['family']:24} {row['version']:10} {row['prompt_id']}"
            )
