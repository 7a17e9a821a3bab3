from pathlib import Path
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from prompts.evaluation.loader import LoadedSuites, load_suites, shipped_suites
from prompts.loader import shipped_prompts


class Command(BaseCommand):
    requires_system_checks = []
    help = "List the acceptance suites: ours, or that of a file of your own."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--list", action="store_true", required=True, help="list the suites")
        parser.add_argument("--suite", type=Path, help="a suite of your own, in place of ours")
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *, suite: Path | None, json: bool, **_: Any) -> None:
        loaded = shipped_suites() if suite is None else _own(suite)
        rows = [
            {"feature": item.feature, "suite": item.name, "cases": len(item.cases)}
            for item in loaded.suites
        ]
        if json:
            self.stdout.write(orjson.dumps(rows).decode())
            return
        for row in rows:
            self.stdout.write(f"{row['feature']:30} {row['suite']:30} {row['cases']:4} cases")


def _own(path: Path) -> LoadedSuites:
    loaded = load_suites([path], shipped_prompts().registry)
    if loaded.problems:
        told = "\n".join(map(str, loaded.problems))
        raise CommandError(f"{told}\nCorrect the file, and try again.", returncode=2)
    return loaded
