"""A wrong setting is told in a sentence by every command that needs it, and stops no other."""

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from tests.command_lines import LINES, command_lines, own_commands, run_line

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]

#: Several at a time, of which a command is told the first it needs.
WRONG: list[dict[str, Any]] = [
    {},
    {"ENCRYPTION_KEYS": ["SENTINEL"]},
    {"CA_BUNDLE": "/no/such/file.pem"},
    {
        "SERVING_CONFIG_SIGNING_KEY": "SENTINEL",
        "AIGW_SELF_SIGNED_JWT__SIGNING_KEY": "SENTINEL",
        "DOCS_SIGNING_KEY": "SENTINEL",
    },
    {
        "AIGW_GITLAB_URL": "nonsense",
        "DOCS_REGISTRY_URL": "nonsense",
        "DOCS_SEARCH_URL": "nonsense",
    },
    {"REDIS_URL": "redis://:SENTINEL@cache:nonsense", "GATEWAY_TRUSTED_ISSUERS": ["nonsense"]},
    {"UPSTREAM_ALLOWED_CIDRS": ["nonsense"], "GITLAB_VERSION": "latest"},
]
#: What may be told of settings that are right: nothing is there to be used.
ABSENT = {"DOCS_REGISTRY_URL", "DOCS_SEARCH_URL"}


def test_every_command_has_lines() -> None:
    assert own_commands() == sorted(LINES)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: next(iter(wrong), "nothing"))
def test_wrong_setting_is_told_in_a_sentence(
    furnished: Path, settings: Settings, wrong: dict[str, Any]
) -> None:
    for name, value in wrong.items():
        setattr(settings, name, value)

    for line in command_lines(furnished):
        ran = run_line(line)  # what gets out is a stack trace

        is_told = any(name in ran.err for name in {*wrong, *ABSENT})
        assert ran.status in {0, 1} or (ran.status == 2 and is_told), (line, ran)
        assert "Traceback" not in ran.out + ran.err, line
        assert "SENTINEL" not in ran.out + ran.err, line


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("rotate_keys", {"ENCRYPTION_KEYS": ["SENTINEL"]}),
        ("config apply {folder}/config.yml", {"ENCRYPTION_KEYS": ["SENTINEL"]}),
        ("explain duo_chat", {"ENCRYPTION_KEYS": ["SENTINEL"]}),
        ("explain duo_chat --token {folder}/token", {"AIGW_GITLAB_URL": "nonsense"}),
        ("issue_token --user a --scopes duo_chat", {"AIGW_SELF_SIGNED_JWT__SIGNING_KEY": "x"}),
        ("probe --url http://127.0.0.1:9", {"CA_BUNDLE": "/no/such/file.pem"}),
        ("probe --url http://user:SENTINEL@server", {}),
        ("search_docs runners", {"DOCS_SEARCH_URL": "nonsense"}),
        ("load_docs_index", {"DOCS_SEARCH_URL": "nonsense"}),
        ("install_docs_index --from-registry", {"DOCS_REGISTRY_URL": "nonsense"}),
        ("config revisions --limit 99999999999999999999999", {}),
        ("config rollback 99999999999999999999999", {}),
        ("evaluate --resume 99999999999999999999999", {}),
    ],
)
def test_misuse_exits_2(
    furnished: Path, settings: Settings, line: str, wrong: dict[str, Any]
) -> None:
    for name, value in wrong.items():
        setattr(settings, name, value)

    ran = run_line(line.format(folder=furnished).split())

    assert ran.status == 2, ran
    assert all(name in ran.err for name in wrong)
    assert len(ran.err.splitlines()) <= 2
    assert "SENTINEL" not in ran.err


def test_support_bundle_is_made_without_usable_keys(furnished: Path, settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = ["SENTINEL"]

    ran = run_line(["support_bundle", "--output", str(furnished / "bundle.zip")])

    assert ran.status == 0, ran
