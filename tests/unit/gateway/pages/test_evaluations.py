"""The pages about evaluations: started, watched, cancelled, read, compared."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from feature_config.catalogue import Feature
from gateway.models import AuditRecord
from gateway.roles import EDITOR, VIEWER
from prompts.models import EvaluationRun
from selfhosted_models.background_runs import RunState
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_deployment, make_run
from tests.unit.gateway.browsing import client_of, queries_of

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

LIST = "/admin/evaluations/"
GIT = Feature.GIT_SUGGESTIONS


@pytest.fixture
def editor() -> Client:
    return client_of(EDITOR)


@pytest.fixture
def deployment() -> ModelDeployment:
    found = make_deployment(name="first")
    assign(GIT, found)
    return found


def text(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def start(client: Client, **fields: str) -> Any:
    return client.post(f"{LIST}start/", fields, follow=True)


def test_without_a_server_the_page_says_what_to_do(editor: Client) -> None:
    assert "Register one first" in text(editor.get(LIST))


def test_started_evaluation_is_shown_and_on_record(
    editor: Client, deployment: ModelDeployment
) -> None:
    answer = start(editor, feature=GIT)

    run = EvaluationRun.objects.get()
    assert answer.redirect_chain == [(f"{LIST}{run.pk}/", 302)]
    assert (run.state, run.deployment, run.is_background) == (RunState.QUEUED, deployment, True)
    assert f"0 of {run.total_cases} cases asked" in text(answer)
    assert "data-follows" in text(answer)
    assert AuditRecord.objects.get(action="evaluation.started").author == run.started_by


def test_every_feature_that_can_be_asked_is_asked(
    editor: Client, deployment: ModelDeployment
) -> None:
    answer = start(editor, deployment="first")

    assert {run.feature for run in EvaluationRun.objects.all()} == set(Feature)
    assert "16 evaluations will be carried out." in text(answer)


def test_two_deployments_are_asked_the_same_with_one_click(
    editor: Client, deployment: ModelDeployment
) -> None:
    make_deployment(name="second")

    answer = start(editor, feature=GIT, deployment="first", beside="second")

    runs = EvaluationRun.objects.all()
    assert {run.deployment.name for run in runs} == {"first", "second"}
    assert len({(run.batch, run.suite_digest) for run in runs}) == 1
    assert answer.redirect_chain == [(f"{LIST}together/{runs[0].batch}/", 302)]
    assert "data-follows" in text(answer)
    assert "The difference shows here once both runs" in text(answer)


def test_a_comparison_starts_whole_or_not_at_all(
    editor: Client, deployment: ModelDeployment
) -> None:
    make_deployment(name="second")

    answer = start(editor, feature=GIT, deployment="first", beside="second", beside_version="^9")

    assert "^9" in text(answer)
    assert not EvaluationRun.objects.exists()


def test_runs_asked_for_together_show_their_difference_when_they_are_over(
    editor: Client, deployment: ModelDeployment
) -> None:
    first = make_run(deployment, "++++++++")
    second = make_run(make_deployment(name="second"), "------++", batch=first.batch)

    page = text(editor.get(f"{LIST}together/{first.batch}/"))

    assert "data-follows" not in page
    assert "(paired bootstrap)" in page
    assert "-75% (-100% to " in page
    assert f"{LIST}{second.pk}/?with={first.pk}#compare" in page
    # Either of them has the other beside it, unasked.
    assert "-75% (" in text(editor.get(f"{LIST}{second.pk}/"))
    assert "+75% (" in text(editor.get(f"{LIST}{first.pk}/"))


def test_page_of_many_runs_takes_as_many_queries_as_of_two(
    editor: Client, deployment: ModelDeployment
) -> None:
    other, batch = make_deployment(name="second"), uuid4()

    def add(*features: Feature) -> int:
        for feature in features:
            for asked in (deployment, other):
                make_run(asked, feature=feature, batch=batch)
        return queries_of(editor, f"{LIST}together/{batch}/")

    add(GIT)
    before = add()

    assert add(Feature.DUO_CHAT, Feature.CODE_EXPLANATION, Feature.TEST_GENERATION) == before


def test_all_runs_asked_for_together_are_cancelled_at_once(
    editor: Client, deployment: ModelDeployment
) -> None:
    make_deployment(name="second")
    start(editor, feature=GIT, deployment="first", beside="second")
    batch = EvaluationRun.objects.all()[0].batch

    answer = editor.post(f"{LIST}together/{batch}/cancel/", follow=True)

    assert {run.state for run in EvaluationRun.objects.all()} == {RunState.CANCELLED}
    assert "Cancelled: 2 of them." in text(answer)
    assert "There is nothing to compare" in text(answer)
    assert editor.get(f"{LIST}together/{uuid4()}/").status_code == 404


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"feature": "dancing"}, "dancing is not one of the available choices"),
        ({"feature": GIT, "deployment": "nobody"}, "nobody is not one of the available"),
        ({"feature": Feature.DUO_CHAT}, "assigns a deployment"),
        ({"feature": GIT, "prompt_version": "^9"}, "9"),
        ({"feature": GIT, "prompt_version": "new"}, "new"),
        ({"suite": "ours"}, "Choose the feature that the suite is for"),
        ({"feature": Feature.DUO_CHAT, "deployment": "first", "suite": "ours"}, "no suite for"),
        ({"feature": GIT, "deployment": "first", "beside": "first"}, "Both sides are first with"),
        ({"feature": GIT, "beside_version": "^1.0"}, "another version of the prompt"),
    ],
)
def test_what_cannot_be_started_is_told_and_the_form_kept(
    editor: Client,
    deployment: ModelDeployment,
    own_suite: Path,
    fields: dict[str, str],
    words: str,
) -> None:
    answer = start(editor, **fields)

    assert answer.status_code == 200
    assert words in text(answer)
    assert not EvaluationRun.objects.exists()


@pytest.fixture
def own_suite(tmp_path: Path, settings: Any) -> Path:
    settings.EVALUATION_SUITES_DIR = tmp_path
    path = tmp_path / "ours.yml"
    path.write_text(
        "version: 1.0.0\nfeature: git_suggestions\nbar: 1\ncases:\n"
        "  - {id: a, inputs: {prompt: x}, checks: {fences: 1}}\n"
    )
    return path


def test_own_suite_is_offered_and_a_broken_one_told(
    editor: Client, deployment: ModelDeployment, own_suite: Path
) -> None:
    (own_suite.parent / "broken.yml").write_text("version: 1.0.0\nfeature: dancing\n")

    page = text(editor.get(LIST))
    start(editor, feature=GIT, suite="ours")

    assert "ours (Git Suggestions)" in page
    assert "A suite of yours cannot be used." in page
    assert "broken.yml" in page
    assert EvaluationRun.objects.get().suite == "ours"


def test_same_question_is_not_asked_twice_at_a_time(
    editor: Client, deployment: ModelDeployment
) -> None:
    start(editor, feature=GIT)

    assert "asks the same and is under way" in text(start(editor, feature=GIT))


def test_run_is_cancelled_and_goes_on(editor: Client, deployment: ModelDeployment) -> None:
    start(editor, feature=GIT)
    path = f"{LIST}{EvaluationRun.objects.get().pk}/"

    cancelled = editor.post(f"{path}cancel/", follow=True)
    again = editor.post(f"{path}cancel/", follow=True)
    resumed = editor.post(f"{path}resume/", follow=True)

    assert "What was answered is kept" in text(cancelled)
    assert "Go on" in text(cancelled)
    assert "is over; there is nothing to cancel" in text(again)
    assert "It goes on with what is left" in text(resumed)
    assert EvaluationRun.objects.get().state == RunState.QUEUED


def test_finished_run_shows_verdict_charts_and_what_was_lost(
    editor: Client, deployment: ModelDeployment
) -> None:
    before = make_run(deployment, "+++")
    run = make_run(deployment, "++-")

    page = text(editor.get(f"{LIST}{run.pk}/"))

    assert "67% (21% to 94%)" in page
    assert f"Run {before.pk}</a>, before it, passed case-2" in page
    assert "mentions: is wrong" in page
    assert "Share that passed, run by run" in page
    assert "style=" not in page
    assert "<script>" not in page


def test_two_runs_are_put_side_by_side(editor: Client, deployment: ModelDeployment) -> None:
    first = make_run(make_deployment(name="second"), "-++")
    run = make_run(deployment, "++-")

    page = text(editor.get(f"{LIST}{run.pk}/?with={first.pk}"))

    assert "(paired bootstrap)" in page
    assert "+0%" in page
    assert page.index('<th scope="row">case-2') < page.index('<th scope="row">case-1')


def test_what_cannot_be_compared_is_not_offered(
    editor: Client, deployment: ModelDeployment
) -> None:
    make_run(deployment, "++-", suite_digest="another")
    run = make_run(deployment, "++-")

    for other in ("999", "x", str(run.pk)):
        page = text(editor.get(f"{LIST}{run.pk}/?with={other}"))
        assert "No other run asked the same cases" in page


def test_answers_of_a_model_are_shown_as_text(editor: Client, deployment: ModelDeployment) -> None:
    run = make_run(deployment, "+")
    run.results.update(answer="<script>alert(1)</script>")

    page = editor.get(f"{LIST}{run.pk}/").content.decode()
    report = editor.get(f"{LIST}{run.pk}/report/")

    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;script&gt;alert(1)" in report.content.decode()
    assert report["Content-Disposition"] == f'attachment; filename="evaluation-{run.pk}.html"'


def test_list_takes_as_many_queries_for_many_runs(
    editor: Client, deployment: ModelDeployment
) -> None:
    make_run(deployment)
    queries_of(editor, LIST)
    before = queries_of(editor, LIST)
    for _ in range(12):
        make_run(deployment)

    assert queries_of(editor, LIST) == before


def test_viewer_sees_runs_and_starts_none(deployment: ModelDeployment) -> None:
    client = client_of(VIEWER)
    run = make_run(deployment)

    assert "Start one" not in text(client.get(LIST))
    assert "67%" in text(client.get(f"{LIST}{run.pk}/"))
    assert client.get(f"{LIST}999/").status_code == 404
