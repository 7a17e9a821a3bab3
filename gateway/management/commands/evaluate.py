import argparse
import math
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from docsearch.progress import waiting_line
from feature_config.catalogue import Feature
from gateway.evaluation.errors import EvaluationRefused
from gateway.evaluation.report import page_of, report_on
from gateway.evaluation.runs import EvaluationRequest, carry_out, current_snapshot, plan_run
from gateway.snapshot import ServingSnapshot
from prompts.errors import PromptError
from prompts.evaluation.loader import LoadedSuites, load_suites, shipped_suites
from prompts.loader import shipped_prompts
from prompts.models import EvaluationRun
from selfhosted_models.background_runs import RunState

EXIT_MISUSED = 2
#: `started_by` of runs that no user of the pages asked for.
STARTED_BY = "command"
REPORT_FORMATS = (".json", ".html")


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Ask a model the cases of the acceptance suites, through the live path, and say how "
        "well it answers. Exits with 1 if a run does not come to its end or is under "
        "--fail-under. Examples: evaluate --list; evaluate --feature duo_chat --deployment gpu1 "
        "--fail-under 0.8; evaluate --compare gpu1 gpu2"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--list", action="store_true", help="list the suites, and ask nothing")
        parser.add_argument("--feature", help="one feature; else all that can be answered")
        parser.add_argument("--deployment", help="whom to ask; else the one assigned first")
        parser.add_argument("--suite", type=Path, help="a suite of your own, in place of ours")
        parser.add_argument(
            "--compare",
            nargs=2,
            metavar="DEPLOYMENT",
            help="two deployments, or two versions of the prompt, on the same cases",
        )
        parser.add_argument("--judge", metavar="DEPLOYMENT", help="has its model judge answers too")
        parser.add_argument(
            "--yes-run-code",
            action="store_true",
            help="run code that the model wrote: only on a machine where that does not matter",
        )
        parser.add_argument("--resume", type=int, metavar="RUN", help="go on with an earlier call")
        parser.add_argument(
            "--fail-under", type=_share, metavar="SCORE", help="share that must pass, 0 to 1"
        )
        parser.add_argument("--json", action="store_true", help="for machines")
        parser.add_argument("--report", type=_report, metavar="FILE", help="write .json or .html")

    def handle(self, **options: Any) -> None:
        if options["list"]:
            self._list(options["suite"], as_json=options["json"])
            return
        runs = _resumed(options) if options["resume"] is not None else self._planned(options)
        self._show_wait = waiting_line()
        try:
            with _interruptible() as interrupted:
                for run in runs:
                    carry_out(run.pk, partial(self._show_progress, interrupted))
        except KeyboardInterrupt:
            EvaluationRun.objects.filter(batch=runs[0].batch).cancel()
            raise CommandError(
                f"\nCancelled. `manage.py evaluate --resume {runs[0].pk}` goes on where it stopped."
            ) from None
        finally:
            self._show_wait("")
        self._tell(_batch_of(runs[0]), options)

    def _list(self, suite: Path | None, *, as_json: bool) -> None:
        loaded = shipped_suites() if suite is None else _own(suite)
        rows = [
            {"feature": item.feature, "suite": item.name, "cases": len(item.cases)}
            for item in loaded.suites
        ]
        if as_json:
            self.stdout.write(orjson.dumps(rows).decode())
            return
        for row in rows:
            self.stdout.write(f"{row['feature']:30} {row['suite']:30} {row['cases']:4} cases")

    def _planned(self, options: dict[str, Any]) -> list[EvaluationRun]:
        """Store all runs that are asked for; nothing if one of them cannot be."""
        features, is_chosen = _features(options)
        snapshot, batch = current_snapshot(), uuid4()
        _require_deployments(options, snapshot)
        runs = []
        with transaction.atomic():
            for feature in features:
                try:
                    runs += [
                        plan_run(snapshot, request, started_by=STARTED_BY, batch=batch)
                        for request in _requests(feature, options, snapshot)
                    ]
                except (PromptError, EvaluationRefused) as error:
                    if is_chosen:
                        raise CommandError(error.safe_message, returncode=EXIT_MISUSED) from error
                    self.stderr.write(f"{feature} is left out: {error.safe_message}")
        if not runs:
            raise CommandError(
                "Nothing can be evaluated: assign a deployment to a feature, or name one with "
                "--deployment.",
                returncode=EXIT_MISUSED,
            )
        return runs

    def _show_progress(self, interrupted: threading.Event, run: EvaluationRun) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        self._show_wait(
            f"{run.feature} on {run.deployment.name}: {run.done_cases} of {run.total_cases} cases, "
            f"{run.passed_cases} passed"
        )

    def _tell(self, runs: Sequence[EvaluationRun], options: dict[str, Any]) -> None:
        report = report_on(runs)
        if options["json"]:
            self.stdout.write(orjson.dumps(report).decode())
        else:
            for row in (*report["runs"], *report["comparisons"]):
                self.stdout.write(_line(row))
        if options["report"] is not None:
            _write(options["report"], report)
        if unfinished := [run for run in runs if run.state != RunState.FINISHED]:
            told = "\n".join(f"{run}: {run.state}. {run.reason}" for run in unfinished)
            raise CommandError(
                f"{told}\n`manage.py evaluate --resume {unfinished[0].pk}` tries again."
            )
        least = options["fail_under"]
        if least is not None and (
            under := [run.feature for run in runs if run.verdict and run.verdict.share < least]
        ):
            raise CommandError(f"Under {least:g}: {', '.join(under)}.")


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Yield what the first Ctrl-C sets; a second one interrupts at once.

    Python's own KeyboardInterrupt would come wherever we are, also while a result is stored.
    """
    interrupted = threading.Event()

    def note(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: give 0 to 1, as in 0.8")
    return share


def _report(text: str) -> Path:
    path = Path(text)
    if path.suffix not in REPORT_FORMATS or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"{text} cannot be written: name a .json or .html file in a folder that exists"
        )
    return path


def _own(path: Path) -> LoadedSuites:
    loaded = load_suites([path], shipped_prompts().registry)
    if loaded.problems:
        told = "\n".join(map(str, loaded.problems))
        raise CommandError(f"{told}\nCorrect the file, and try again.", returncode=EXIT_MISUSED)
    return loaded


def _features(options: dict[str, Any]) -> tuple[list[Feature], bool]:
    """Return what to evaluate, and whether it was chosen: then it must be possible."""
    name, suite = options["feature"], options["suite"]
    if name is not None and name not in tuple(Feature):
        known = ", ".join(Feature)
        raise CommandError(
            f"There is no feature '{name}'. There is: {known}.", returncode=EXIT_MISUSED
        )
    if suite is None:
        return ([Feature(name)], True) if name else (list(Feature), False)
    feature = _own(suite).suites[0].feature
    if name and name != feature:
        raise CommandError(
            f"{suite} is a suite of {feature}, not of {name}.", returncode=EXIT_MISUSED
        )
    return [feature], True


def _require_deployments(options: dict[str, Any], snapshot: ServingSnapshot) -> None:
    """Pass if every deployment that is named is there; the names of a comparison are so, or not."""
    named = [options["deployment"], options["judge"]]
    if any(name in snapshot.deployments for name in options["compare"] or ()):
        named += options["compare"]
    for name in filter(None, named):
        if name not in snapshot.deployments:
            known = ", ".join(snapshot.deployments) or "none"
            raise CommandError(
                f"There is no active deployment '{name}'. There is: {known}.",
                returncode=EXIT_MISUSED,
            )


def _requests(
    feature: Feature, options: dict[str, Any], snapshot: ServingSnapshot
) -> list[EvaluationRequest]:
    """Return what a feature is asked: of one deployment, or what is compared."""
    compared = options["compare"] or ()
    request = EvaluationRequest(
        feature,
        deployment=options["deployment"] or "",
        suite_path=str(options["suite"].resolve()) if options["suite"] else "",
        judge=options["judge"] or "",
        runs_code=options["yes_run_code"],
    )
    if not compared:
        return [request]
    if all(name in snapshot.deployments for name in compared):
        return [replace(request, deployment=name) for name in compared]
    return [replace(request, prompt_version=version) for version in compared]


def _batch_of(run: EvaluationRun) -> list[EvaluationRun]:
    return list(
        EvaluationRun.objects.filter(batch=run.batch).select_related("deployment").order_by("pk")
    )


def _resumed(options: dict[str, Any]) -> list[EvaluationRun]:
    """Open a call's runs again; those that are finished stay as they are."""
    taken = ("feature", "deployment", "suite", "compare", "judge", "yes_run_code")
    if named := [f"--{name.replace('_', '-')}" for name in taken if options[name]]:
        raise CommandError(
            f"A run goes on as it began: leave {', '.join(named)} out.", returncode=EXIT_MISUSED
        )
    run = EvaluationRun.objects.filter(pk=options["resume"]).first()
    if run is None:
        raise CommandError(f"There is no run {options['resume']}.", returncode=EXIT_MISUSED)
    runs = _batch_of(run)
    for item in runs:
        is_open = item.reopen(is_background=False)
        if not is_open and item.state != RunState.FINISHED:
            raise CommandError(
                f"{item} is being carried out: wait for it, or cancel it.", returncode=EXIT_MISUSED
            )
    return runs


def _write(path: Path, report: dict[str, Any]) -> None:
    is_page = path.suffix == ".html"
    text = page_of(report).encode() if is_page else orjson.dumps(report, None, orjson.OPT_INDENT_2)
    try:
        path.write_bytes(text)
    except OSError as error:
        run = report["runs"][0]["run"]
        raise CommandError(
            f"{path} cannot be written: {error.strerror}. The results are kept: `manage.py "
            f"evaluate --resume {run} --report FILE` writes them elsewhere.",
            returncode=EXIT_MISUSED,
        ) from error


def _line(row: dict[str, Any]) -> str:
    """Return a run, or a comparison of two, as people read it."""
    if "run" not in row:
        lost = f"; only the first passes {', '.join(row['regressions'])}" * bool(row["regressions"])
        return (
            f"{row['title']}: {row['second']} less {row['first']}: {row['difference']:+.0%} "
            f"({row['low']:+.0%} to {row['high']:+.0%}){lost}"
        )
    head = f"{row['feature']} on {row['deployment']} (run {row['run']})"
    verdict, before = row["verdict"], row["previous"]
    if verdict is None:
        return f"{head}: {row['state']} after {row['done_cases']} of {row['total_cases']} cases"
    change = ""
    if before is not None:
        change = f"; {before['difference']:+.0%} since run {before['run']}"
        change += f", which passed {', '.join(before['regressions'])}" * bool(before["regressions"])
    return (
        f"{head}: {row['passed_cases']} of {row['total_cases']} pass, {verdict['score']:.0%} "
        f"({verdict['low']:.0%} to {verdict['high']:.0%}); the bar is {row['bar']:.0%}: "
        f"{'passed' if verdict['is_pass'] else 'missed'}{change}"
    )
