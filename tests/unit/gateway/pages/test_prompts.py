"""The pages about prompts: which there are, one filled in, what differs."""

from typing import Any

import pytest
from django.test import Client

from feature_config.catalogue import FEATURES, WIRE_PROMPTS, Feature
from feature_config.models import FeatureSetting
from gateway.roles import VIEWER
from prompts.loader import shipped_prompts
from selfhosted_models.families import ModelFamily
from tests.factories import make_deployment
from tests.unit.gateway.browsing import client_of

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]


@pytest.fixture
def viewer() -> Client:
    return client_of(VIEWER)


def text(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_every_prompt_is_listed_for_every_family(viewer: Client) -> None:
    page = text(viewer.get("/admin/prompts/"))

    assert all(facts.title in page for facts in FEATURES.values())
    assert all(prompt_id in page for prompt_id in WIRE_PROMPTS)
    for family in ModelFamily:
        assert f"/admin/prompts/duo_chat/{family}/" in page


def test_every_prompt_of_every_family_is_shown_filled_in(viewer: Client) -> None:
    for prompt in sorted({definition.prompt for definition in shipped_prompts().registry}):
        for family in (ModelFamily.MISTRAL_7B, ModelFamily.CODEGEMMA_2B):
            answer = viewer.get(f"/admin/prompts/{prompt}/{family}/")
            assert (answer.status_code, "Filled in with samples" in text(answer)) == (200, True)


def test_preview_is_within_the_context_of_a_deployment(viewer: Client) -> None:
    make_deployment(name="small", family="mistral-7b", context_tokens=1024)

    whole = text(viewer.get("/admin/prompts/code_explanation/mistral-7b/"))
    small = text(viewer.get("/admin/prompts/code_explanation/mistral-7b/?deployment=small"))

    assert "of 1024 tokens" not in whole
    assert whole != small
    assert "<option selected>small</option>" in small


def test_two_families_are_told_apart(viewer: Client) -> None:
    page = text(viewer.get("/admin/prompts/code_completions/codegemma-7b-it/?to_family=mistral-7b"))

    assert "What differs" in page
    assert '<pre class="added">+variant: mistral-7b</pre>' in page


def test_same_version_differs_in_nothing(viewer: Client) -> None:
    page = text(viewer.get("/admin/prompts/duo_chat/general/?version=1.0.0&to_version=1.0.0"))

    assert "Nothing: both ask the same." in page


def test_version_that_is_not_there_is_told(viewer: Client) -> None:
    FeatureSetting.objects.filter(pk=Feature.DUO_CHAT).update(prompt_version="9.0.0")

    for query in ("", "?version=7.7.7", "?version=new", "?to_version=7.7.7&version=1.0.0"):
        answer = viewer.get(f"/admin/prompts/duo_chat/general/{query}")
        assert (answer.status_code, "notice bad" in text(answer)) == (200, True)


@pytest.mark.parametrize(
    "path", ["none/general/", "duo_chat/none/", "duo_chat/general/?to_family=none"]
)
def test_what_there_is_not_is_not_found(viewer: Client, path: str) -> None:
    assert viewer.get(f"/admin/prompts/{path}").status_code == 404
