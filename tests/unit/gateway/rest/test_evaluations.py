"""`evaluations/`: started, followed, cancelled, resumed and compared by programs."""

from pathlib import Path
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from feature_config.catalogue import Feature
from gateway.evaluation.runs import carry_out
from gateway.models import AuditRecord
from prompts.models import EvaluationRun
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_deployment
from tests.fakes.model_server import ModelServer, Script
from tests.unit.gateway.evaluation.conftest import SUITE
from tests.unit.gateway.rest.api import Api

GOOD = Script(chunks=("```\n", "git log\n", "```"))
BAD = Script(chunks=("no idea",))
START = {"feature": "git_suggestions", "suite": "ours"}


@pytest.fixture
def suites(tmp_path: Path, settings: Any) -> Path:
    """The folder of the site's own suites, with one of three cases."""
    settings.EVALUATION_SUITES_DIR = tmp_path / "suites"
    settings.EVALUATION_SUITES_DIR.mkdir()
    (settings.EVALUATION_SUITES_DIR / "ours.yml").write_text(SUITE)
    return tmp_path / "suites"


@pytest.fixture
def deployment(suites: Path, db: None) -> ModelDeployment:
    found = make_deployment(name="first", family="general")
    assign(Feature.GIT_SUGGESTIONS, found)
    return found


@pytest.fixture
def asked(model_server: ModelServer, deployment: ModelDeployment, settings: Any) -> ModelServer:
    """The scripted server, behind the deployment."""
    settings.UPSTREAM_ALLOWED_HOSTS = ["127.0.0.1"]
    ModelDeployment.objects.update(endpoints=[model_server.endpoint], max_in_flight=1)
    return model_server


def run_through(api: Api) -> int:
    number: int = api.post("evaluations/", START).json()["run"]
    carry_out(number)
    return number


def test_started_run_is_queued_once_it_is_stored(
    api: Api,
    deployment: ModelDeployment,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks() as queued:
        answer = api.post("evaluations/", START)

    told = answer.json()
    assert (answer.status_code, len(queued)) == (201, 1)
    assert answer["Location"] == f"/api/v1/evaluations/{told['run']}/"
    assert (told["state"], told["total_cases"], told["verdict"]) == ("queued", 3, None)
    assert (told["deployment"], told["suite"]) == ("first", "ours")
    assert told["started_by"] == "API token rails"
    record = AuditRecord.objects.get(action="evaluation.started")
    assert (record.author, record.object_id) == ("API token rails", f"evaluation:{told['run']}")


def test_repeated_start_with_its_key_starts_nothing_more(
    api: Api, deployment: ModelDeployment
) -> None:
    first = api.post("evaluations/", START, idempotency_key="k-1")
    again = api.post("evaluations/", START, idempotency_key="k-1")

    assert (again.status_code, again.json()) == (201, first.json())
    assert EvaluationRun.objects.count() == 1


def test_same_question_is_not_asked_twice_at_a_time(api: Api, deployment: ModelDeployment) -> None:
    first = api.post("evaluations/", START).json()["run"]

    answer = api.post("evaluations/", START)

    assert (answer.status_code, answer.json()["code"]) == (409, "evaluation_conflict")
    assert f"Run {first} asks the same" in answer.json()["detail"]
    assert EvaluationRun.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"feature": "dancing"}, 422, "dancing"),
        ({"feature": "duo_chat", "suite": ""}, 422, "assigns a deployment"),
        ({"deployment": "nobody"}, 422, "nobody"),
        ({"suite": "../../etc/passwd"}, 422, "There is no suite"),
        ({"suite": "broken"}, 422, "broken.yml:2"),
        ({"feature": "duo_chat", "deployment": "first"}, 422, "no suite for duo_chat"),
        ({"prompt_version": "^9"}, 422, "9"),
        ({"judge": "nobody"}, 422, "nobody"),
        ({"deployment": 7.5, "judge": ["x"]}, 422, "judge"),
    ],
)
def test_what_cannot_be_evaluated_is_told_and_not_stored(
    api: Api, deployment: ModelDeployment, suites: Path, change: Any, status: int, words: str
) -> None:
    (suites / "broken.yml").write_text("version: 1.0.0\nfeature: dancing\nbar: 1\ncases: []\n")

    answer = api.post("evaluations/", START | change)

    assert answer.status_code == status, answer.json()
    assert words in answer.json()["detail"]
    assert not EvaluationRun.objects.exists()


@pytest.mark.enable_socket
def test_finished_run_is_shown_with_its_verdict_and_cases(api: Api, asked: ModelServer) -> None:
    asked.answer_with(GOOD, BAD, GOOD)
    number = run_through(api)

    told = api.get(f"evaluations/{number}/").json()

    assert (told["state"], told["passed_cases"]) == ("finished", 2)
    assert told["verdict"]["is_pass"] is True
    assert told["verdict"]["score"] == pytest.approx(2 / 3)
    wrong = [case for case in told["results"] if not case["is_passed"]]
    assert [case["case_id"] for case in wrong] == ["list"]
    assert wrong[0]["reasons"]["fences"] == "has 0 fenced blocks, less than 1"
    assert all(case["answer"] == "" for case in told["results"])


@pytest.mark.enable_socket
def test_two_runs_are_compared(api: Api, asked: ModelServer) -> None:
    asked.answer_with(GOOD)
    before = run_through(api)
    asked.answer_with(GOOD, BAD, GOOD)
    after = run_through(api)

    told = api.get(f"evaluations/{after}/comparison/?to={before}").json()

    assert (told["run"], told["regressions"], told["gains"]) == (before, ["list"], [])
    assert told["low"] <= told["difference"] <= told["high"]
    assert api.get(f"evaluations/{after}/").json()["previous"] == told


@pytest.mark.enable_socket
def test_two_deployments_are_asked_the_same_and_compared(api: Api, asked: ModelServer) -> None:
    worse = asked.path("worse", BAD, GOOD, BAD)
    make_deployment(name="second", endpoints=[worse], max_in_flight=1, family="general")
    asked.answer_with(GOOD)

    answer = api.post("evaluations/comparison/", START | {"second_deployment": "second"})
    first, second = (answer.json()[side] for side in ("first", "second"))
    for run in (first, second):
        carry_out(run["run"])
    compared = api.get(answer["Location"].removeprefix("/api/v1/")).json()

    assert answer.status_code == 201
    assert (first["deployment"], second["deployment"]) == ("first", "second")
    assert first["batch"] == second["batch"]
    assert compared["run"] == first["run"]
    assert compared["difference"] == pytest.approx(-2 / 3)
    assert compared["low"] <= compared["difference"] <= compared["high"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "Both sides are first with prompt"),
        ({"second_deployment": "nobody"}, "nobody"),
        ({"second_prompt_version": "^9"}, "^9"),
    ],
)
def test_comparison_of_what_is_not_there_starts_nothing(
    api: Api, deployment: ModelDeployment, more: dict[str, str], told: str
) -> None:
    answer = api.post("evaluations/comparison/", START | more)

    assert answer.status_code == 422
    assert told in answer.json()["detail"]
    assert not EvaluationRun.objects.exists()


@pytest.mark.parametrize(("to", "words"), [("", "to"), ("x", "to"), ("99", "no run")])
def test_comparison_with_nothing_is_told(
    api: Api, deployment: ModelDeployment, to: str, words: str
) -> None:
    number = api.post("evaluations/", START).json()["run"]

    answer = api.get(f"evaluations/{number}/comparison/?to={to}")

    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_comparison_of_what_is_not_finished_is_told(api: Api, deployment: ModelDeployment) -> None:
    number = api.post("evaluations/", START).json()["run"]

    answer = api.get(f"evaluations/{number}/comparison/?to={number}")

    assert (answer.status_code, answer.json()["code"]) == (422, "evaluation_refused")
    assert "not finished" in answer.json()["detail"]


def test_cancelled_run_can_be_resumed(api: Api, deployment: ModelDeployment) -> None:
    path = f"evaluations/{api.post('evaluations/', START).json()['run']}/"

    cancelled = api.post(f"{path}cancel/", None)
    again = api.post(f"{path}cancel/", None)
    resumed = api.post(f"{path}resume/", None)

    assert cancelled.json()["state"] == "cancelled"
    assert (again.status_code, again.json()["code"]) == (409, "evaluation_conflict")
    assert (resumed.status_code, resumed.json()["state"]) == (200, "queued")
    recorded = AuditRecord.objects.filter(action__startswith="evaluation.").order_by("number")
    assert [record.action.partition(".")[2] for record in recorded] == [
        "started",
        "cancelled",
        "resumed",
    ]


@pytest.mark.enable_socket
def test_finished_run_is_not_resumed(api: Api, asked: ModelServer) -> None:
    asked.answer_with(GOOD)
    number = run_through(api)

    answer = api.post(f"evaluations/{number}/resume/", None)

    assert (answer.status_code, answer.json()["code"]) == (409, "evaluation_conflict")
    assert "finished" in answer.json()["detail"]


def test_runs_are_listed_newest_first_and_filtered(
    api: Api, deployment: ModelDeployment, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_deployment(name="second", family="general")
    first = api.post("evaluations/", START).json()["run"]
    second = api.post("evaluations/", START | {"deployment": "second"}).json()["run"]

    def listed(query: str) -> list[int]:
        return [row["run"] for row in api.get(f"evaluations/{query}").json()["results"]]

    with django_assert_max_num_queries(3):  # the token's two, and one for all rows
        assert listed("") == [second, first]
    assert listed("?deployment__name=first") == [first]
    assert listed("?state=finished") == []
    assert "results" not in api.get("evaluations/").json()["results"][0]
    assert api.get("evaluations/?state=dancing").status_code == 422


def test_unknown_run_is_told(api: Api, db: None) -> None:
    for path in ("evaluations/7/", "evaluations/99999999999999999999999/"):
        assert api.get(path).status_code == 404
