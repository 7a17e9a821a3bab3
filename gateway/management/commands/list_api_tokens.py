import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from gateway.models import ApiToken


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "List the tokens of the REST API: scopes, expiry, last use. The tokens are not stored. "
        "Example: list_api_tokens --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *, json: bool, **_: Any) -> None:
        rows = [_data_of(row) for row in ApiToken.objects.all()]
        if json:
            self.stdout.write(_to_json(rows))
            return
        for row in rows:
            used = row["last_used_at"] or "never"
            self.stdout.write(
                f"{row['name']}: {row['state']}, expires {row['expires_at']}, last used {used}; "
                f"{', '.join(row['scopes'])}"
            )


def _data_of(row: ApiToken) -> dict[str, Any]:
    is_expired = row.expires_at <= timezone.now()
    return {
        "name": row.name,
        "state": "revoked" if row.revoked_at else "expired" if is_expired else "usable",
        "scopes": row.scopes,
        "created_at": row.created_at.isoformat(timespec="seconds"),
        "expires_at": row.expires_at.isoformat(timespec="seconds"),
        "last_used_at": row.last_used_at and row.last_used_at.isoformat(timespec="seconds"),
    }


def _to_json(data: Any) -> str:
    return json.dumps(data, indent=2)
