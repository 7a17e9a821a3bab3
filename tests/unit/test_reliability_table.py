"""Every test that docs/reliability.md names exists."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
TESTS = sorted(set(NAMED.findall((REPOSITORY / "docs/reliability.md").read_text())))


@pytest.mark.parametrize(("path", "name"), TESTS, ids=[name for _, name in TESTS])
def test_named_test_exists(path: str, name: str) -> None:
    tree = ast.parse((REPOSITORY / path).read_text())

    assert name in {getattr(node, "name", None) for node in tree.body}


def test_tests_are_named() -> None:
    assert len(TESTS) > 40
