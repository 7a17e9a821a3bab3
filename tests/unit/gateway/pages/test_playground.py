"""The page of the playground: samples, the prompt they make, and what keeps it from being asked."""

import html as html_text
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from docsearch.store import IndexStore
from feature_config.catalogue import Feature
from gateway.evaluation.suites import suite_for
from gateway.roles import EDITOR
from selfhosted_models.families import ModelFamily
from tests.factories import assign, make_deployment, setting_of
from tests.unit.docsearch.pages import install
from tests.unit.gateway.browsing import client_of, queries_of, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

PLAYGROUND = "/admin/playground/"
GIT = Feature.GIT_SUGGESTIONS


@pytest.fixture
def editor() -> Client:
    return client_of(EDITOR)


def inputs_of(answer: Any) -> dict[str, str]:
    page = answer.content.decode()
    found = re.findall(r'<textarea name="input-(\w+)"[^>]*>\n?(.*?)</textarea>', page, flags=re.S)
    return {name: html_text.unescape(text) for name, text in found}


def show(client: Client, feature: Feature = GIT, deployment: str = "", **inputs: Any) -> Any:
    """Send inputs by their names."""
    sent = {f"input-{name}": value for name, value in inputs.items()}
    return client.post(PLAYGROUND, {"feature": feature.value, "deployment": deployment, **sent})


@pytest.mark.parametrize("feature", list(Feature))
def test_every_sample_of_a_feature_makes_its_prompt(editor: Client, feature: Feature) -> None:
    assign(feature, make_deployment(context_tokens=8192))
    case = suite_for(feature).cases[0]

    loaded = editor.get(PLAYGROUND, {"feature": feature.value, "sample": case.id})
    numbers = {name: str(value) for name, value in case.inputs.items() if type(value) is int}
    told = text_of(show(editor, feature, **inputs_of(loaded), **numbers))

    assert "yes Is there a prompt for its model family?" in told
    assert re.search(r"about \d+ tokens of \d+", told)
    assert "the deployment takes 8192 in all" in told


def test_a_question_to_the_documentation_is_asked_with_its_passages(
    editor: Client, settings: Settings, tmp_path: Path
) -> None:
    settings.DATA_DIR, settings.GITLAB_VERSION = tmp_path / "data", ""
    store = IndexStore.below(settings.DATA_DIR)
    install(store, tmp_path, boards="# Issue boards\n\nSelect **New board**.\n")
    assign(Feature.DUO_CHAT, make_deployment(context_tokens=8192))
    found = editor.get("/admin/documentation/search/", {"q": "create a board & more"})
    (link,) = re.findall(r'href="([^"]*/playground/[^"]+)"', found.content.decode())

    loaded = inputs_of(editor.get(html_text.unescape(link)))

    (message,) = json.loads(loaded["messages"])
    assert "Select **New board**." in message["content"]
    assert '<documentation source="/help/boards.md">' in message["content"]
    assert message["content"].endswith("create a board & more")
    told = text_of(show(editor, Feature.DUO_CHAT, **loaded))
    assert "Select **New board**." in told


@pytest.mark.parametrize("question", ["quokka", "\0", "AND NOT (", "x" * 9000])
def test_a_question_the_documentation_does_not_answer_is_asked_alone(
    editor: Client, settings: Settings, tmp_path: Path, question: str
) -> None:
    settings.DATA_DIR = tmp_path / "data"

    loaded = editor.get(PLAYGROUND, {"feature": "duo_chat", "documentation": question})

    (message,) = json.loads(inputs_of(loaded)["messages"])
    assert message == {"role": "user", "content": question[:4000]}


def test_first_shown_is_a_feature_that_is_assigned(editor: Client) -> None:
    assign(GIT, make_deployment())

    assert "Inputs of Git Suggestions" in text_of(editor.get(PLAYGROUND))


def test_nothing_assigned_is_told_by_the_gates_and_the_command_is_there(editor: Client) -> None:
    told = text_of(show(editor, prompt="undo"))

    assert "no Is there a deployment to answer?" in told
    assert "curl -N http://testserver/v1/prompts/glab_ask_git_command" in told
    assert "tokens of answer" not in told


def test_command_asks_the_deployment_that_was_chosen(editor: Client) -> None:
    assign(GIT, make_deployment())
    make_deployment(name="gpu1")

    told = text_of(show(editor, deployment="gpu1", prompt="undo"))

    assert '"model": "deployment:gpu1"' in told
    assert "It sends this deployment the prompt above" in told


def test_inactive_feature_is_refused_here_too(editor: Client) -> None:
    make_deployment(name="gpu1")
    setting_of(GIT).deactivate()

    told = text_of(show(editor, deployment="gpu1", prompt="undo"))

    assert "no Is the feature switched on?" in told


def test_only_deployments_that_may_answer_are_offered(editor: Client) -> None:
    make_deployment(name="gemma")
    make_deployment(name="mistral", family=ModelFamily.MISTRAL_7B)
    make_deployment(name="off", is_active=False)

    page = editor.get(PLAYGROUND, {"feature": "code_completions"}).content.decode()

    assert '<option value="gemma">' in page
    assert "mistral" not in page
    assert '"off"' not in page


def test_what_is_no_json_is_told_at_its_field_and_kept(editor: Client) -> None:
    answer = show(
        editor,
        Feature.SUGGESTED_REVIEWERS,
        candidates='[{"username": }]',
        changed_files='["a.py"]',
    )

    assert answer.status_code == 422
    assert "This is not JSON: check commas" in text_of(answer)
    assert inputs_of(answer)["candidates"] == '[{"username": }]'


def test_markup_in_inputs_is_shown_as_text(editor: Client) -> None:
    assign(GIT, make_deployment())

    page = show(editor, prompt="<script>alert(1)</script>").content.decode()

    assert "<script>alert" not in page


@pytest.mark.parametrize(
    "query", ["feature=nonsense", "deployment=gone", "sample=gone", "feature=%00"]
)
def test_what_does_not_exist_is_at_its_default(editor: Client, query: str) -> None:
    assert editor.get(f"{PLAYGROUND}?{query}").status_code == 200


def test_as_many_queries_for_many_deployments_as_for_few(editor: Client) -> None:
    make_deployment()
    few = queries_of(editor, PLAYGROUND)
    for _ in range(20):
        make_deployment()

    assert queries_of(editor, PLAYGROUND) == few


def test_asking_where_no_gateway_is_served_is_told(editor: Client) -> None:
    answer = editor.post(f"{PLAYGROUND}ask/", {"feature": GIT.value, "input-prompt": "undo"})

    assert answer.status_code == 422
    assert "start it as `make serve` does" in json.loads(answer.content)["message"]
