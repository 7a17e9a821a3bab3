"""Runs against a scripted model server: asked, stored, cancelled, taken up again."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from feature_config.catalogue import Feature
from gateway.evaluation.errors import EvaluationRefused
from gateway.evaluation.runs import (
    EvaluationRequest,
    carry_out,
    current_snapshot,
    forget_answers,
    plan_run,
    sweep,
)
from prompts.models import EvaluationResult, EvaluationRun
from selfhosted_models.background_runs import MAX_ATTEMPTS, RunState
from selfhosted_models.models import ModelDeployment
from tests.factories import make_deployment, make_fingerprint, setting_of
from tests.fakes.model_server import ModelServer, Script

pytestmark = [pytest.mark.enable_socket, pytest.mark.django_db]

GOOD = Script(chunks=("```\n", "git log\n", "```"))
BAD = Script(chunks=("no idea",))


def plan(
    suite_path: Path | str = "", *, is_background: bool = False, **wanted: Any
) -> EvaluationRun:
    request = EvaluationRequest(
        wanted.pop("feature", Feature.GIT_SUGGESTIONS), suite_path=str(suite_path), **wanted
    )
    return plan_run(
        current_snapshot(),
        request,
        started_by="dana",
        batch=uuid4(),
        is_background=is_background,
    )


def cancel(run: EvaluationRun) -> None:
    EvaluationRun.objects.filter(pk=run.pk).cancel()


def take_over(run: EvaluationRun) -> None:
    EvaluationRun.objects.filter(pk=run.pk).update(lease_holder="another")


def carried_out(run: EvaluationRun) -> EvaluationRun:
    carry_out(run.pk)
    run.refresh_from_db()
    return run


def test_run_asks_every_case_and_stores_how_it_went(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    model_server.answer_with(GOOD, BAD, GOOD)
    progress = []

    run = plan(suite_path)
    carry_out(run.pk, lambda seen: progress.append((seen.done_cases, seen.passed_cases)))
    run.refresh_from_db()

    assert progress == [(1, 1), (2, 1), (3, 2)]
    assert run.state == RunState.FINISHED
    assert (run.suite, run.suite_version, run.started_by) == ("ours", "1.0.0", "dana")
    assert run.verdict is not None
    assert run.verdict.is_pass
    assert run.verdict.share == pytest.approx(2 / 3)
    failed = run.results.get(is_passed=False)
    assert failed.reasons == {
        "mentions": "does not mention git",
        "fences": "has 0 fenced blocks, less than 1",
    }
    assert failed.score == 0.5
    assert failed.took_ms is not None


def test_run_names_the_server_as_it_was_measured(
    deployment: ModelDeployment, suite_path: Path
) -> None:
    before = plan(suite_path)
    fingerprint = make_fingerprint(deployment, chat=True)
    after = plan(suite_path)

    assert {run.subject for run in (before, after)} == {deployment.measured_subject}
    assert (before.fingerprint_digest, after.fingerprint_digest) == ("", fingerprint.digest)
    assert (before.fingerprint_facts, after.fingerprint_facts) == ({}, {"chat": True})


def test_live_path_is_asked_with_the_features_own_prompt(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    carried_out(plan(suite_path))

    asked = model_server.exchanges[0].json
    assert asked["model"] == "some-model"
    assert "undo my last commit" in asked["messages"][-1]["content"]
    prompt = setting_of(Feature.GIT_SUGGESTIONS).feature
    definition = current_snapshot().prompts.find(prompt, ["general"])
    run = EvaluationRun.objects.get()
    assert (run.prompt_version, run.prompt_digest) == (definition.version, definition.digest)


def test_cases_are_asked_at_once_within_the_deployments_limit(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    ModelDeployment.objects.update(max_in_flight=2)
    model_server.answer_with(Script(chunks=("a", "b", "c"), gap_s=0.02))

    carried_out(plan(suite_path))

    assert model_server.most_in_flight == 2


def test_answers_are_kept_only_where_that_is_allowed(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path, settings: Any
) -> None:
    model_server.answer_with(GOOD)
    silent = carried_out(plan(suite_path))
    settings.EVALUATION_ANSWER_DAYS = 2
    kept = carried_out(plan(suite_path))

    assert {result.answer for result in silent.results.all()} == {""}
    assert {result.answer for result in kept.results.all()} == {GOOD.text}


def test_kept_answers_are_deleted_after_their_days(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path, settings: Any
) -> None:
    settings.EVALUATION_ANSWER_DAYS = 2
    model_server.answer_with(GOOD)
    run = carried_out(plan(suite_path))
    old = run.results.filter(case_id="undo")
    old.update(created_at=timezone.now() - timedelta(days=3))

    forget_answers()

    assert old.get().answer == ""
    assert old.get().is_passed
    assert run.results.exclude(answer="").count() == 2


def test_error_of_one_case_is_its_result(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    model_server.answer_with(Script.error(400), GOOD)

    run = carried_out(plan(suite_path))

    assert run.state == RunState.FINISHED
    assert run.results.get(case_id="undo").error == "upstream_rejected"
    assert run.passed_cases == 2


def test_run_without_any_answer_fails_and_says_why(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    model_server.answer_with(Script.error(400))

    run = carried_out(plan(suite_path))

    assert (run.state, run.verdict) == (RunState.FAILED, None)
    assert run.reason == "No case got an answer: upstream_rejected."


def test_circuit_stays_closed_so_that_every_case_is_asked(
    model_server: ModelServer, deployment: ModelDeployment
) -> None:
    model_server.answer_with(Script.error(400))

    run = carried_out(plan())

    assert len(model_server.exchanges) == run.total_cases


def test_cancelled_run_stops_and_is_resumed_without_asking_again(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    model_server.answer_with(GOOD)
    run = plan(suite_path)

    carry_out(run.pk, cancel)
    run.refresh_from_db()
    assert (run.state, run.done_cases, run.verdict) == (RunState.CANCELLED, 1, None)

    assert run.reopen(is_background=False)
    carried_out(run)

    assert (run.state, run.passed_cases) == (RunState.FINISHED, 3)
    asked = [exchange.json["messages"][-1]["content"] for exchange in model_server.exchanges]
    assert sum("undo my last commit" in text for text in asked) == 1


def test_resuming_asks_again_what_got_no_answer(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    model_server.answer_with(Script.error(400))
    run = carried_out(plan(suite_path))
    model_server.answer_with(GOOD)

    assert run.reopen(is_background=False)
    carried_out(run)

    assert (run.state, run.reason, run.passed_cases) == (RunState.FINISHED, "", 3)


def test_finished_run_is_not_reopened(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    run = carried_out(plan(suite_path))

    assert not run.reopen(is_background=False)
    assert run.state == RunState.FINISHED


def test_run_that_another_carries_out_is_left_alone(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    run = plan(suite_path)
    assert run.take_up("another")

    carry_out(run.pk)

    assert model_server.exchanges == []
    assert not run.reopen(is_background=False)


def test_sweep_takes_up_what_a_dead_worker_left(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    model_server.answer_with(GOOD)
    left, alive, foreground = (
        plan(suite_path, is_background=True),
        plan(suite_path, is_background=True),
        plan(suite_path),
    )
    for run in (left, alive, foreground):
        run.take_up("a worker")
    died = timezone.now() - timedelta(seconds=1)
    EvaluationRun.objects.exclude(pk=alive.pk).update(lease_until=died)

    sweep()

    states = [EvaluationRun.objects.get(pk=run.pk).state for run in (left, alive, foreground)]
    assert states == [RunState.FINISHED, RunState.RUNNING, RunState.RUNNING]
    assert EvaluationRun.objects.get(pk=foreground.pk).is_stalled


def test_worker_that_lost_its_lease_stores_nothing_more(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    run = plan(suite_path)

    carry_out(run.pk, take_over)

    run.refresh_from_db()
    assert (run.state, run.results.count()) == (RunState.RUNNING, 1)


def test_run_that_kills_its_workers_comes_to_an_end(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    run = plan(suite_path, is_background=True)
    EvaluationRun.objects.update(attempts=MAX_ATTEMPTS)

    sweep()

    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert "died again and again" in run.reason


def test_changed_suite_is_not_mixed_with_older_results(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    run = plan(suite_path)
    suite_path.write_text(suite_path.read_text().replace("stash my work", "stash it all"))

    carried_out(run)

    assert run.state == RunState.FAILED
    assert run.reason == "The suite changed since the run began: start a new one."


def test_results_of_two_servers_are_not_mixed(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    make_fingerprint(deployment, context=8192)
    run = plan(suite_path)
    make_fingerprint(deployment, context=4096)

    carried_out(run)

    assert run.state == RunState.FAILED
    assert run.reason == "The model server changed since the run began: start a new one."
    assert model_server.exchanges == []


def test_run_goes_on_though_more_is_known_of_its_server(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    make_fingerprint(deployment, chat=True)
    run = plan(suite_path)
    make_fingerprint(deployment, chat=True, context=8192)

    assert carried_out(run).state == RunState.FINISHED


def test_feature_without_a_deployment_cannot_be_evaluated(deployment: ModelDeployment) -> None:
    with pytest.raises(EvaluationRefused, match="assigns a deployment"):
        plan(feature=Feature.DUO_CHAT)

    assert plan(feature=Feature.DUO_CHAT, deployment="first").deployment == deployment


def test_inactive_feature_can_be_evaluated_before_it_is_switched_on(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    setting_of(Feature.GIT_SUGGESTIONS).deactivate()

    assert carried_out(plan(suite_path, deployment="first")).state == RunState.FINISHED


def test_family_that_is_not_supported_is_refused(deployment: ModelDeployment) -> None:
    make_deployment(name="mistral", family="mistral-7b")

    with pytest.raises(EvaluationRefused, match="Code Completion is not supported on Mistral"):
        plan(feature=Feature.CODE_COMPLETIONS, deployment="mistral")


def test_suite_of_another_feature_is_refused(deployment: ModelDeployment, suite_path: Path) -> None:
    with pytest.raises(EvaluationRefused, match="no suite for duo_chat"):
        plan(suite_path, feature=Feature.DUO_CHAT, deployment="first")


def test_judging_deployment_decides_what_rules_cannot(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path
) -> None:
    suite_path.write_text(suite_path.read_text().replace("[git]", "[git], judge: is polite"))
    judging = model_server.path(
        "judge",
        Script(chunks=('{"reason": "It is rude.", "is_met": false}',)),
        Script(chunks=('{"reason": "It is fine.", "is_met": true}',)),
        Script.error(500),
    )
    make_deployment(name="judge", endpoints=[judging], max_in_flight=1, family="general")
    model_server.answer_with(GOOD)

    run = carried_out(plan(suite_path, judge="judge"))

    assert run.judge == "judge"
    assert run.results.get(case_id="undo").reasons == {"judge": "It is rude."}
    assert run.results.get(case_id="list").is_passed
    assert run.results.get(case_id="stash").skipped == ["judge"]
    question = model_server.exchanges_at("judge")[0].json["messages"][-1]["content"]
    assert "undo my last commit" in question
    assert "git log" in question
    assert "is polite" in question


def test_what_no_database_takes_is_left_out_of_an_answer(
    model_server: ModelServer, deployment: ModelDeployment, suite_path: Path, settings: Any
) -> None:
    settings.EVALUATION_ANSWER_DAYS = 1
    model_server.answer_with(Script(chunks=("a\0b",)))

    carried_out(plan(suite_path))

    assert {result.answer for result in EvaluationResult.objects.all()} == {"ab"}
