import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from feature_config.catalogue import FEATURES, WIRE_PROMPTS
from gateway.authentication.tokens import issue_token
from gateway.authentication.verifier import MAX_LIFETIME_S
from gateway.gates import USE_DEPLOYMENTS_DIRECTLY
from gateway.runtime import own_keys_from_settings

#: Scopes of the wire that belong to no single prompt.
_FURTHER_SCOPES = {"documentation_search", USE_DEPLOYMENTS_DIRECTLY}


def known_scopes() -> set[str]:
    prompts = {prompt.unit_primitive for prompt in WIRE_PROMPTS.values()}
    return prompts | {facts.unit_primitive for facts in FEATURES.values()} | _FURTHER_SCOPES


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Print a token of this gateway's own: the key of any OpenAI client at /openai/v1. On "
        "GitLab's paths its bearer also sends the headers 'X-Gitlab-Authentication-Type: oidc' "
        "and 'X-Gitlab-Global-User-Id: <user>'. Example: issue_token --user me --scopes "
        "duo_chat,complete_code --ttl 600"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="whom the token is for")
        parser.add_argument("--scopes", required=True, help="comma-separated, as in duo_chat")
        parser.add_argument("--ttl", type=int, default=MAX_LIFETIME_S, help="seconds (3600)")

    def handle(self, *, user: str, scopes: str, ttl: int, **_: Any) -> None:
        wanted = {scope.strip() for scope in scopes.split(",") if scope.strip()}
        if unknown := wanted - known_scopes():
            raise CommandError(
                f"Unknown scopes: {', '.join(sorted(unknown))}. "
                f"Known are: {', '.join(sorted(known_scopes()))}.",
                returncode=2,
            )
        if not wanted or not user or not 1 <= ttl <= MAX_LIFETIME_S:
            raise CommandError(
                f"Give a user, at least one scope and a --ttl of 1 to {MAX_LIFETIME_S} seconds.",
                returncode=2,
            )
        token, _expires_at = issue_token(
            own_keys_from_settings(),
            service_name=settings.CLOUD_CONNECTOR_SERVICE_NAME,
            user_id=user,
            scopes=wanted,
            now=time.time(),
            lifetime_s=ttl,
        )
        self.stdout.write(token)
