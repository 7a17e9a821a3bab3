from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.audit import Attribution, Origin, system_user
from gateway.models import ApiToken
from gateway.rest.api_tokens import DEFAULT_TTL_S, MAX_TTL_S, create_api_token
from gateway.rest.scopes import ROLE_SCOPES, Scope

MISUSED = 2


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Make a token for the REST API and print it: this once, it is not stored. Scopes: "
        f"{', '.join(Scope)}. Examples: create_api_token rails --scopes "
        "read_configuration,write_configuration; create_api_token pipeline --role editor"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="what the history calls it")
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--scopes", help="comma-separated")
        what.add_argument("--role", choices=ROLE_SCOPES, help="the scopes of a role of people")
        parser.add_argument("--ttl", type=int, default=DEFAULT_TTL_S, help="seconds (90 days)")

    def handle(
        self, *, name: str, scopes: str | None, role: str | None, ttl: int, **_: Any
    ) -> None:
        wanted = {scope.strip() for scope in (scopes or "").split(",") if scope.strip()}
        if role is not None:
            wanted = {*map(str, ROLE_SCOPES[role])}
        if unknown := wanted - {*map(str, Scope)}:
            _refuse(f"Unknown scopes: {', '.join(sorted(unknown))}. Known are: {', '.join(Scope)}.")
        if not wanted or not 1 <= ttl <= MAX_TTL_S:
            _refuse(f"Give at least one scope and a --ttl of 1 to {MAX_TTL_S} seconds.")
        if not name.strip() or len(name) > 100 or not name.isprintable():
            _refuse("Give a name of 1 to 100 printable characters.")
        if ApiToken.objects.filter(name=name).exists():
            _refuse(f"There is a token '{name}' already, maybe revoked: take another name.")
        by = Attribution(system_user(), Origin.COMMAND)
        self.stdout.write(create_api_token(name, map(Scope, wanted), by, ttl_s=ttl))
        self.stderr.write("Keep it now: it is shown this once.")


def _refuse(message: str) -> None:
    raise CommandError(message, returncode=MISUSED)
