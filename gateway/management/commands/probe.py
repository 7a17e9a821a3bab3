import asyncio
import json
import math
import os
import sys
from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from docsearch.progress import waiting_for, waiting_line
from gateway.doors import model_server_door
from gateway.probes.checking import CHECK_WITHIN_S, check_each
from gateway.probes.measuring import AlreadyMeasuring, measure_each
from selfhosted_models.models import ModelDeployment
from selfhosted_models.probing.inspection import Inspection, inspect
from selfhosted_models.probing.measuring import WITHIN_S
from selfhosted_models.probing.outcomes import Outcome
from selfhosted_models.probing.results import AbilityResult, State

UNHEALTHY, MISUSED = 1, 2
MAX_TIMEOUT_S = 3600
_ANSWERS = "the answers of model servers"


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Ask model servers whether they work: each endpoint of the active deployments, or of those "
        "named. With --fingerprint, measure what they can do and store it; with --url, say what is "
        "behind a URL. Exit status: 0 all is well; 1 something is not; 2 the arguments are wrong. "
        "Examples: probe; probe codegemma-gpu1 --fingerprint; probe --url http://10.0.4.11:8000"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", metavar="DEPLOYMENT", help="its name")
        parser.add_argument("--fingerprint", action="store_true", help="the full measurement")
        parser.add_argument("--url", help="ask what is there; needs no deployment")
        parser.add_argument("--key-env", help="with --url: the variable that holds its API key")
        parser.add_argument("--json", action="store_true", help="one JSON object a line")
        parser.add_argument(
            "--timeout",
            type=float,
            metavar="S",
            help=f"seconds for each endpoint ({CHECK_WITHIN_S:g}); for each deployment, with "
            f"--fingerprint ({WITHIN_S:g})",
        )

    def handle(
        self,
        *,
        names: list[str],
        fingerprint: bool,
        url: str | None,
        key_env: str | None,
        timeout: float | None,
        **options: Any,
    ) -> None:
        self._is_json = options["json"]
        self._show_wait = waiting_line()
        if timeout is not None and not (math.isfinite(timeout) and 0 < timeout <= MAX_TIMEOUT_S):
            raise CommandError(f"--timeout is 0 to {MAX_TIMEOUT_S} seconds.", returncode=MISUSED)
        if url is not None:
            if names or fingerprint or timeout is not None:
                raise CommandError("Give --url, or names and options.", returncode=MISUSED)
            is_well = self._inspect(url, _key_in(key_env))
        elif key_env is not None:
            raise CommandError("--key-env goes with --url.", returncode=MISUSED)
        else:
            is_well = self._probe(names, is_full=fingerprint, timeout_s=timeout)
        self._show_wait("")
        if not is_well:
            sys.exit(UNHEALTHY)

    def _probe(self, names: list[str], *, is_full: bool, timeout_s: float | None) -> bool:
        try:
            self._require_known(names)
            if is_full:
                return self._measure(names, timeout_s or WITHIN_S)
            return self._check(names, timeout_s or CHECK_WITHIN_S)
        except AlreadyMeasuring as error:
            raise CommandError(
                "Another measurement is under way: ask again when it is over.", returncode=UNHEALTHY
            ) from error

    def _require_known(self, names: Iterable[str]) -> None:
        known = list(ModelDeployment.objects.values_list("name", flat=True))
        if unknown := sorted(set(names) - set(known)):
            raise CommandError(
                f"There is no deployment {', '.join(unknown)}. "
                f"There is: {', '.join(known) or 'none; add one in the admin or by config apply'}.",
                returncode=MISUSED,
            )
        if not known:
            self.stderr.write("No deployment is registered: add one in the admin.")

    # Each way to probe; True if all is well.

    def _check(self, names: Collection[str], timeout_s: float) -> bool:
        rows = ModelDeployment.objects.all()
        rows = rows.filter(name__in=names) if names else rows.active()
        return asyncio.run(self._check_all(list(rows), timeout_s))

    async def _check_all(self, rows: list[ModelDeployment], timeout_s: float) -> bool:
        is_well = True
        self._show_wait(_ANSWERS)
        async for checked in check_each(rows, timeout_s):
            is_well = is_well and checked.is_well
            self._tell(
                asdict(checked),
                f"{checked.deployment}  {checked.endpoint}  "
                f"{self._mark(checked.outcome, checked.is_well)}  {checked.took_ms:,.0f} ms",
                checked.message,
            )
        return is_well

    def _measure(self, names: Collection[str], timeout_s: float) -> bool:
        is_well = True
        self._show_wait(_ANSWERS)
        for measured in measure_each(names, on_result=self._tell_result, within_s=timeout_s):
            is_well = is_well and measured.is_usable
            stored = measured.fingerprint
            if stored is None:
                continue
            self._tell(
                {
                    "deployment": measured.deployment,
                    "digest": stored.digest,
                    "facts": stored.facts,
                    "differences": stored.differences,
                },
                f"{measured.deployment}  fingerprint {stored.digest}",
                f"Changed: {stored.drift}" if stored.has_drifted else "",
            )
        return is_well

    def _inspect(self, url: str, api_key: str) -> bool:
        async def ask() -> Inspection:
            async with model_server_door() as door:
                return await inspect(door, url, api_key)

        with waiting_for(_ANSWERS):
            found = asyncio.run(ask())
        if not found.url:
            raise CommandError(f"--url: {found.message}", returncode=MISUSED)
        is_well = found.outcome is Outcome.OK
        self._tell(
            {**asdict(found), "corrected_url": found.corrected_url},
            f"{self._mark(found.outcome, is_well)}  {found.message}",
            *(
                f"{each.model_identifier}: serving_format {each.serving_format}, "
                f"family {each.family}, endpoint {each.url}"
                + (f", {each.context_tokens:,} tokens" if each.context_tokens else "")
                for each in found.suggestions
            ),
        )
        return is_well

    # How it is told.

    def _tell_result(self, deployment: str, result: AbilityResult) -> None:
        self._tell(
            {"deployment": deployment, **asdict(result)},
            f"{deployment}  {result.trait:<21}  "
            f"{self._mark(result.state, result.state is not State.NO)}  {result.detail}",
            result.remedy,
        )

    def _mark(self, word: str, is_good: bool) -> str:
        return self.style.SUCCESS(word) if is_good else self.style.ERROR(word)

    def _tell(self, data: dict[str, Any], line: str, *more: str) -> None:
        """Print at once: what comes next may take a while."""
        self._show_wait("")
        if self._is_json:
            self.stdout.write(json.dumps(data))
        else:
            self.stdout.write("\n    ".join([line, *filter(None, more)]))
        self.stdout.flush()
        self._show_wait(_ANSWERS)


def _key_in(variable: str | None) -> str:
    if variable is None:
        return ""
    if not (key := os.environ.get(variable)):
        raise CommandError(
            f"The variable {variable} is not set: put the API key there.", returncode=MISUSED
        )
    return key
