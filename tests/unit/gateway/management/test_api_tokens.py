import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gateway.models import ApiToken, AuditRecord
from gateway.rest.api_tokens import find_api_token

pytestmark = pytest.mark.django_db


def run(command: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(command, *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def create(name: str = "rails", scopes: str = "read_configuration", *more: str) -> str:
    return run("create_api_token", name, "--scopes", scopes, *more).strip()


def test_created_token_works_and_is_all_that_is_printed() -> None:
    token = create("rails", "write_configuration, read_configuration", "--ttl", "60")

    row = find_api_token(token)
    assert row is not None
    assert row.scopes == ["read_configuration", "write_configuration"]
    assert (row.expires_at - row.created_at).total_seconds() == 60


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rails", "duo_chat"), "Unknown scopes: duo_chat. Known are: read_configuration"),
        (("rails", ""), "at least one scope"),
        (("rails", "read_audit", "--ttl", "0"), "--ttl of 1 to"),
        ((" ", "read_audit"), "Give a name"),
        (("a\nb", "read_audit"), "Give a name"),
        (("taken", "read_audit"), "There is a token 'taken' already"),
    ],
)
def test_wrong_arguments_are_told(arguments: tuple[str, ...], words: str) -> None:
    create("taken")

    with pytest.raises(CommandError, match=words) as refusal:
        create(*arguments)

    assert refusal.value.returncode == 2
    assert ApiToken.objects.count() == 1


def test_tokens_are_listed_with_their_use() -> None:
    find_api_token(create("used"))
    create("unused")

    listed: Any = json.loads(run("list_api_tokens", "--json"))

    assert [(row["name"], row["state"], bool(row["last_used_at"])) for row in listed] == [
        ("unused", "usable", False),
        ("used", "usable", True),
    ]
    assert "unused: usable, expires" in run("list_api_tokens")


def test_revoked_token_is_refused_and_stays_listed() -> None:
    token = create()

    run("revoke_api_token", "rails")
    run("revoke_api_token", "rails")

    assert find_api_token(token) is None
    assert "rails: revoked" in run("list_api_tokens")
    assert AuditRecord.objects.filter(action="api_token.revoked").count() == 1


def test_token_that_is_not_there_cannot_be_revoked() -> None:
    with pytest.raises(CommandError, match="There is no token 'x'"):
        run("revoke_api_token", "x")
