import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from feature_config.catalogue import Feature


def listed(*arguments: Any) -> str:
    stdout = StringIO()
    call_command("evaluate", "--list", *map(str, arguments), stdout=stdout)
    return stdout.getvalue()


def test_suites_are_listed_for_machines() -> None:
    rows = json.loads(listed("--json"))

    assert {row["feature"] for row in rows} == set(Feature)
    assert all(row.keys() == {"feature", "suite", "cases"} for row in rows)
    assert all(row["cases"] >= 12 for row in rows)


def test_suites_are_listed_for_people() -> None:
    assert "git_suggestions" in listed()


def test_own_suite_is_listed_and_its_mistakes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "ours.yml"
    head = "version: 1.0.0\nfeature: git_suggestions\nbar: 0.5\ncases:\n"
    path.write_text(head + "  - {id: a, inputs: {prompt: x}, checks: {fences: 1}}\n")
    assert json.loads(listed("--suite", path, "--json")) == [
        {"feature": "git_suggestions", "suite": "ours", "cases": 1}
    ]

    path.write_text(head + "  - {id: a, inputs: {}, checks: {fences: 1}}\n")
    with pytest.raises(CommandError, match=r"ours\.yml:5: .*Missing inputs: prompt") as caught:
        listed("--suite", path)
    assert caught.value.returncode == 2
