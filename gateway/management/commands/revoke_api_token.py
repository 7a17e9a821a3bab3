from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.audit import Attribution, Origin, system_user
from gateway.models import ApiToken
from gateway.rest.api_tokens import revoke_api_token


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Refuse a token of the REST API from now on. Its name stays taken. Example: "
        "revoke_api_token pipeline"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="as list_api_tokens shows it")

    def handle(self, *, name: str, **_: Any) -> None:
        row = ApiToken.objects.filter(name=name).first()
        if row is None:
            raise CommandError(
                f"There is no token '{name}': list_api_tokens names them.", returncode=2
            )
        if row.revoked_at is None:
            revoke_api_token(row, Attribution(system_user(), Origin.COMMAND))
        self.stdout.write(f"{name} is revoked.")
