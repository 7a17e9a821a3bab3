"""The operator's deny-list: how it is written. That it is read again: tests/e2e."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.authentication.denied_tokens import DeniedTokens, DenyList, parse_denied_tokens


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "denied_tokens"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", DeniedTokens()),
        ("\n  \n# all is well\n", DeniedTokens()),
        ("kid key-1\njti a-b-c\n", DeniedTokens(frozenset({"key-1"}), frozenset({"a-b-c"}))),
        ("  jti   a  # stolen laptop", DeniedTokens(token_ids=frozenset({"a"}))),
        ("jti a\njti a\njti b", DeniedTokens(token_ids=frozenset({"a", "b"}))),
        ("kid\tkey-1", DeniedTokens(key_ids=frozenset({"key-1"}))),
        ("jti a\r\nkid b\r\n", DeniedTokens(frozenset({"b"}), frozenset({"a"}))),
        ("sub user\nkid\nJTI a\njti a b", DeniedTokens(bad_lines=(1, 2, 3, 4))),
        ("jti a\nwhat", DeniedTokens(token_ids=frozenset({"a"}), bad_lines=(2,))),
    ],
)
def test_lines_are_read(text: str, named: DeniedTokens) -> None:
    assert parse_denied_tokens(text) == named


def test_missing_file_denies_nothing(path: Path, logs: list[Any]) -> None:
    deny_list = DenyList(path)

    deny_list.read()

    assert not deny_list.holds(key_id="", token_id="")
    assert logs == []


def test_what_was_read_is_told_once(path: Path, logs: list[Any]) -> None:
    path.write_text("kid key-1\nwhat")
    deny_list = DenyList(path)

    for _ in range(3):
        deny_list.read()

    assert [log["event"] for log in logs] == ["denied_tokens.loaded", "denied_tokens.bad_lines"]
    assert logs[1]["lines"] == [2]


def test_file_that_cannot_be_read_leaves_the_list_as_it_is(path: Path, logs: list[Any]) -> None:
    path.write_text("jti stolen")
    deny_list = DenyList(path)
    deny_list.read()

    path.write_bytes(b"jti \xff\xfe")
    deny_list.read()

    assert deny_list.holds(key_id="", token_id="stolen")
    assert logs[-1]["event"] == "denied_tokens.unreadable"
