import asyncio
import json
import sys
import time
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from docsearch.progress import waiting_for
from feature_config.catalogue import FEATURES, Feature
from gateway.authentication.verifier import Caller
from gateway.configuration.node import configuration_of_this_node
from gateway.configuration.sources import ConfigurationUnreadable
from gateway.errors import GatewayError
from gateway.explain import Explanation, Stop, explain
from gateway.probes.endpoint_news import stored_news
from gateway.runtime import restored_trust, runtime_settings
from gateway.snapshot import build_snapshot
from prompts.loader import shipped_prompts
from selfhosted_models.secrets import SecretBox

UNHEALTHY, MISUSED = 1, 2


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Say whether a user may use a feature, what would answer, and if not which gate is shut "
        "and what to do. Asks no model server. Exit status: 0 it would be answered; 1 it would "
        "not; 2 the arguments are wrong. Examples: explain code_completions; "
        "explain duo_chat --scopes complete_code; explain duo_chat --token - < token.txt"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("feature", metavar="FEATURE", help=", ".join(Feature))
        parser.add_argument("--user", default="", help="whom to name; has every scope by default")
        parser.add_argument("--scopes", help="comma-separated: what the user's token carries")
        parser.add_argument("--token", help="a file with the token to judge; - is standard input")
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(
        self,
        *,
        feature: str,
        user: str,
        scopes: str | None,
        token: str | None,
        **options: Any,
    ) -> None:
        if feature not in list(Feature):
            raise CommandError(
                f"There is no feature {feature!r}. There is: {', '.join(Feature)}.",
                returncode=MISUSED,
            )
        if token is not None and (scopes is not None or user):
            raise CommandError("Give --token, or --user and --scopes.", returncode=MISUSED)
        asked = Feature(feature)
        caller = _supposed(asked, user, scopes) if token is None else _proved_by(token)
        try:
            found = _explain(asked, caller)
        except ConfigurationUnreadable as error:
            raise CommandError(str(error), returncode=UNHEALTHY) from error
        if options["json"]:
            self.stdout.write(json.dumps(_data(found), indent=2))
        else:
            self._tell(found)
        if not found.is_open:
            sys.exit(UNHEALTHY)

    def _tell(self, found: Explanation) -> None:
        self.stdout.write(f"{FEATURES[found.feature].title} ({found.feature})")
        for gate in found.gates:
            mark = self.style.ERROR("shut") if gate.error else self.style.SUCCESS("open")
            self.stdout.write(f"  {mark}  {gate.name:<11} {gate.detail}")
        for stop in found.way:
            self.stdout.write(f"  {stop.order}. {stop.deployment} at {stop.url}: {_told(stop)}")
        if not found.is_open:
            self.stdout.write(f"What to do: {found.remedy}")


def _supposed(feature: Feature, user: str, scopes: str | None) -> Caller:
    """Return a caller with these scopes, or with the one the feature needs."""
    given = FEATURES[feature].unit_primitive if scopes is None else scopes
    carried = frozenset(scope.strip() for scope in given.split(",") if scope.strip())
    return Caller(subject=user or "somebody", scopes=carried, is_own_issued=False)


def _proved_by(source: str) -> Caller | None:
    """Return the caller a token proves, None if it proves none; the reason goes to stderr."""
    try:
        if source == "-":
            text = sys.stdin.read()
        else:
            with open(source, encoding="utf-8") as file:
                text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"The token cannot be read from {source}: {type(error).__name__}.", returncode=MISUSED
        ) from error
    try:
        with waiting_for("the keys of the token's issuer"):
            return asyncio.run(_verify(text.strip()))
    except GatewayError as error:
        sys.stderr.write(f"The token proves nobody: {error.safe_message}\n")
        return None


async def _verify(token: str) -> Caller:
    options = runtime_settings()
    trust = restored_trust(options, options.url_policy)
    try:
        return await trust.verifier.verify(token)
    finally:
        await trust.door.aclose()


def _explain(feature: Feature, caller: Caller | None) -> Explanation:
    box = SecretBox(settings.ENCRYPTION_KEYS)
    snapshot = build_snapshot(configuration_of_this_node(), shipped_prompts().registry, box)
    return explain(feature, caller, snapshot, stored_news())


def _told(stop: Stop) -> str:
    if stop.heard_at is None:
        return "not heard of yet"
    ago_s = max(0, round(time.time() - stop.heard_at))
    return f"{stop.state}, heard {ago_s} s ago" + (f" - {stop.reason}" if stop.reason else "")


def _data(found: Explanation) -> dict[str, Any]:
    return {
        "feature": found.feature,
        "answered": found.is_open,
        "gates": [
            {
                "gate": gate.name,
                "open": gate.error is None,
                "detail": gate.detail,
                "code": gate.error.code if gate.error else None,
            }
            for gate in found.gates
        ],
        "way": [asdict(stop) for stop in found.way],
        "remedy": found.remedy,
    }
