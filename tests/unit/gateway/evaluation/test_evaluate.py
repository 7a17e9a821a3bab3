import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from feature_config.catalogue import Feature
from prompts.models import EvaluationRun
from selfhosted_models.models import ModelDeployment
from tests.factories import make_deployment
from tests.fakes.model_server import ModelServer, Script


def listed(*arguments: Any) -> str:
    stdout = StringIO()
    call_command("evaluate", "--list", *map(str, arguments), stdout=stdout)
    return stdout.getvalue()


def test_suites_are_listed_for_machines() -> None:
    rows = json.loads(listed("--json"))

    assert {row["feature"] for row in rows} == set(Feature)
    assert all(row.keys() == {"feature", "suite", "cases"} for row in rows)
    assert all(row["cases"] >= 12 for row in rows)


def test_suites_are_listed_for_people() -> None:
    assert "git_suggestions" in listed()


def test_own_suite_is_listed_and_its_mistakes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "ours.yml"
    head = "version: 1.0.0\nfeature: git_suggestions\nbar: 0.5\ncases:\n"
    path.write_text(head + "  - {id: a, inputs: {prompt: x}, checks: {fences: 1}}\n")
    assert json.loads(listed("--suite", path, "--json")) == [
        {"feature": "git_suggestions", "suite": "ours", "cases": 1}
    ]

    path.write_text(head + "  - {id: a, inputs: {}, checks: {fences: 1}}\n")
    with pytest.raises(CommandError, match=r"ours\.yml:5: .*Missing inputs: prompt") as caught:
        listed("--suite", path)
    assert caught.value.returncode == 2


# --- Running -------------------------------------------------------------------------------------

GOOD = Script(chunks=("```\n", "git log\n", "```"))
BAD = Script(chunks=("no idea",))
#: Answers a part, and then nothing until it is cut off.
STUCK = Script(chunks=("git", " log"), stall=1)


def evaluate(*arguments: Any) -> str:
    stdout = StringIO()
    call_command("evaluate", *map(str, arguments), stdout=stdout)
    return stdout.getvalue()


@pytest.mark.enable_socket
@pytest.mark.django_db
class TestRunning:
    def test_verdict_is_told_to_people(
        self, model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
    ) -> None:
        model_server.answer_with(GOOD, BAD, GOOD)

        told = evaluate("--suite", suite_path)

        assert "git_suggestions on first (run " in told
        assert "2 of 3 pass, 67% (21% to 94%); the bar is 60%: passed" in told

    def test_verdict_is_told_to_machines(
        self, model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
    ) -> None:
        model_server.answer_with(GOOD, BAD, GOOD)

        (run,) = json.loads(evaluate("--suite", suite_path, "--json"))["runs"]

        assert (run["feature"], run["state"], run["passed_cases"]) == (
            "git_suggestions",
            "finished",
            2,
        )
        assert run["verdict"]["score"] == pytest.approx(2 / 3)
        assert run["verdict"]["is_pass"] is True
        assert [case["case_id"] for case in run["results"] if not case["is_passed"]] == ["list"]

    def test_all_assigned_features_are_asked_without_options(
        self, model_server: ModelServer, deployment: ModelDeployment
    ) -> None:
        model_server.answer_with(GOOD)

        report = json.loads(evaluate("--json"))

        assert [run["feature"] for run in report["runs"]] == ["git_suggestions"]
        assert report["runs"][0]["total_cases"] >= 12

    @pytest.mark.parametrize(("least", "is_enough"), [("0.66", True), ("0.67", False)])
    def test_fail_under_decides_the_exit(
        self,
        model_server: ModelServer,
        deployment: ModelDeployment,
        suite_path: Path,
        least: str,
        is_enough: bool,
    ) -> None:
        model_server.answer_with(GOOD, BAD, GOOD)

        if is_enough:
            evaluate("--suite", suite_path, "--fail-under", least)
            return
        with pytest.raises(CommandError, match=r"Under 0\.67: git_suggestions") as caught:
            evaluate("--suite", suite_path, "--fail-under", least)
        assert caught.value.returncode == 1

    def test_run_that_fails_says_why_and_how_to_go_on(
        self, model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
    ) -> None:
        model_server.answer_with(Script.error(400))

        with pytest.raises(CommandError, match="No case got an answer") as caught:
            evaluate("--suite", suite_path)

        run = EvaluationRun.objects.get()
        assert f"--resume {run.pk}" in str(caught.value)
        model_server.answer_with(GOOD)
        assert "3 of 3 pass" in evaluate("--resume", run.pk)

    def test_ctrl_c_cancels_and_resume_asks_only_what_is_left(
        self, model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
    ) -> None:
        model_server.answer_with(GOOD, STUCK, GOOD)

        def press_ctrl_c() -> None:
            model_server.wait_for_request(1)
            os.kill(os.getpid(), signal.SIGINT)

        with ThreadPoolExecutor(1) as keyboard:
            pressed = keyboard.submit(press_ctrl_c)
            with pytest.raises(CommandError, match=r"Cancelled\. .*--resume") as caught:
                evaluate("--suite", suite_path)
        pressed.result()

        run = EvaluationRun.objects.get()
        assert f"--resume {run.pk}`" in str(caught.value)
        assert (run.state, run.done_cases) == ("cancelled", 1)
        assert model_server.exchanges[1].closed_by_peer.wait(5)
        assert "3 of 3 pass" in evaluate("--resume", run.pk)
        assert len(model_server.exchanges) == 4

    def test_regression_is_told(
        self, model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
    ) -> None:
        model_server.answer_with(GOOD)
        evaluate("--suite", suite_path)
        model_server.answer_with(GOOD, BAD, GOOD)

        told = evaluate("--suite", suite_path)

        first = EvaluationRun.objects.earliest("pk")
        assert f"-33% since run {first.pk}, which passed list" in told

    def test_two_deployments_are_compared_on_the_same_cases(
        self, model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
    ) -> None:
        model_server.answer_with(GOOD)
        worse = model_server.path("worse", BAD, GOOD, BAD)
        make_deployment(name="second", endpoints=[worse], max_in_flight=1, family="general")

        report = json.loads(
            evaluate("--suite", suite_path, "--compare", "first", "second", "--json")
        )

        (row,) = report["comparisons"]
        assert (row["first"], row["second"]) == ("first", "second")
        assert row["difference"] == pytest.approx(-2 / 3)
        assert row["low"] <= row["difference"] <= row["high"] <= 0
        assert row["regressions"] == ["stash", "undo"]

    def test_two_prompt_versions_are_compared(
        self, model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
    ) -> None:
        model_server.answer_with(GOOD, GOOD, GOOD, BAD, GOOD, GOOD)

        told = evaluate("--suite", suite_path, "--compare", "1.0.0", "^1.0")

        one, other = EvaluationRun.objects.order_by("pk")
        assert f"first, run {other.pk} less first, run {one.pk}: -33%" in told

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--feature", "dancing"], "There is no feature 'dancing'"),
            (["--feature", "duo_chat"], "assigns a deployment"),
            (["--deployment", "nobody"], "no active deployment 'nobody'. There is: first"),
            (
                ["--feature", "git_suggestions", "--judge", "nobody"],
                "no active deployment 'nobody'",
            ),
            (
                ["--feature", "git_suggestions", "--compare", "first", "third"],
                "no active deployment 'third'",
            ),
            (["--resume", "7"], "There is no run 7"),
            (["--resume", "7", "--feature", "duo_chat"], "leave --feature out"),
            (["--fail-under", "80"], "80 is no share"),
            (["--report", "here.pdf"], r"\.json or \.html"),
        ],
    )
    def test_misuse_is_told_and_asks_nothing(
        self,
        model_server: ModelServer,
        deployment: ModelDeployment,
        arguments: list[str],
        told: str,
    ) -> None:
        with pytest.raises(CommandError, match=told):
            evaluate(*arguments)

        assert model_server.exchanges == []
        assert not EvaluationRun.objects.exists()

    def test_code_is_run_only_where_the_operator_says_so(
        self, model_server: ModelServer, deployment: ModelDeployment, tmp_path: Path
    ) -> None:
        path = tmp_path / "code.yml"
        path.write_text(
            "version: 1.0.0\nfeature: git_suggestions\nbar: 1\ncases:\n"
            "  - {id: sum, inputs: {prompt: x}, checks: {passes: 'assert add(1, 2) == 3'}}\n"
        )
        model_server.answer_with(Script(chunks=("def add(a, b):\n    return a - b\n",)))

        assert "1 of 1 pass" in evaluate("--suite", path)
        assert "0 of 1 pass" in evaluate("--suite", path, "--yes-run-code")


@pytest.mark.enable_socket
@pytest.mark.django_db
class TestReport:
    @pytest.fixture
    def page(
        self,
        model_server: ModelServer,
        deployment: ModelDeployment,
        suite_path: Path,
        tmp_path: Path,
        settings: Any,
    ) -> str:
        settings.EVALUATION_ANSWER_DAYS = 1
        hostile = Script(chunks=("<script>alert(1)</script>",))
        model_server.answer_with(GOOD, hostile, GOOD)
        other = model_server.path("other", GOOD)
        make_deployment(name="second", endpoints=[other], max_in_flight=1, family="general")
        path = tmp_path / "report.html"

        evaluate("--suite", suite_path, "--compare", "first", "second", "--report", path)

        return path.read_text(encoding="utf-8")

    def test_page_holds_scores_cases_and_the_difference(self, page: str) -> None:
        assert "67% (21% to 94%)" in page
        assert "+33%" in page
        assert "fences: has 0 fenced blocks, less than 1" in page
        assert page.count("<svg") == page.count('role="img" aria-label="') == 3

    def test_page_needs_nothing_from_elsewhere_and_runs_nothing(self, page: str) -> None:
        assert "http" not in page.replace("http-equiv", "")
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)" in page

    def test_json_report_is_what_is_printed(
        self,
        model_server: ModelServer,
        deployment: ModelDeployment,
        suite_path: Path,
        tmp_path: Path,
    ) -> None:
        path = tmp_path / "report.json"

        printed = evaluate("--suite", suite_path, "--json", "--report", path)

        assert json.loads(path.read_text()) == json.loads(printed)

    def test_report_that_cannot_be_written_loses_no_result(
        self,
        deployment: ModelDeployment,
        suite_path: Path,
        model_server: ModelServer,
        tmp_path: Path,
    ) -> None:
        model_server.answer_with(GOOD)
        (occupied := tmp_path / "occupied.json").mkdir()

        with pytest.raises(CommandError, match="cannot be written: .* results are kept") as told:
            evaluate("--suite", suite_path, "--report", occupied)
        run = EvaluationRun.objects.get()
        asked = len(model_server.exchanges_at(""))
        evaluate("--resume", run.pk, "--report", path := tmp_path / "report.json")

        assert told.value.returncode == 2
        assert f"--resume {run.pk}" in str(told.value)
        assert json.loads(path.read_text())["runs"][0]["passed_cases"] == 3
        assert len(model_server.exchanges_at("")) == asked
