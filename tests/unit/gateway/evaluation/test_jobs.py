"""Evaluations that pages start: carried out in the background, once what they store is there."""

from pathlib import Path

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from feature_config.catalogue import Feature
from gateway.audit import Attribution, Origin
from gateway.evaluation.errors import EvaluationConflict
from gateway.evaluation.jobs import cancel_evaluation, resume_evaluation, start_evaluation
from gateway.evaluation.runs import EvaluationRequest, carry_out
from prompts.models import EvaluationRun
from selfhosted_models.background_runs import RunState
from selfhosted_models.models import ModelDeployment
from tests.fakes.model_server import ModelServer, Script

pytestmark = [pytest.mark.enable_socket, pytest.mark.django_db]

BY = Attribution("dana", Origin.WEB)


@pytest.fixture
def request_for(suite_path: Path) -> EvaluationRequest:
    return EvaluationRequest(Feature.GIT_SUGGESTIONS, suite_path=str(suite_path))


def test_started_run_waits_for_its_transaction(
    deployment: ModelDeployment,
    request_for: EvaluationRequest,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks() as queued:
        run = start_evaluation(request_for, BY)

    assert (run.state, run.is_background, run.started_by) == (RunState.QUEUED, True, "dana")
    assert len(queued) == 1


def test_cancelled_run_is_never_begun_and_can_be_resumed(
    model_server: ModelServer,
    deployment: ModelDeployment,
    request_for: EvaluationRequest,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    model_server.answer_with(Script(chunks=("```\ngit log\n```",)))
    run = start_evaluation(request_for, BY)

    cancel_evaluation(run, BY)
    with pytest.raises(EvaluationConflict, match="is over"):
        cancel_evaluation(run, BY)
    carry_out(run.pk)
    assert model_server.exchanges == []

    with django_capture_on_commit_callbacks() as queued:
        resume_evaluation(run, BY)
    assert len(queued) == 1
    carry_out(run.pk)
    assert EvaluationRun.objects.get().state == RunState.FINISHED
    with pytest.raises(EvaluationConflict, match="is finished"):
        resume_evaluation(run, BY)
