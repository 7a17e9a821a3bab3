import pytest
from django.test import Client
from pytest_django import Settings

from feature_config.catalogue import Feature
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_admin, make_deployment

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

DEPLOYMENTS = "/admin/selfhosted_models/modeldeployment/"
FILLED = {
    "name": "gpu1",
    "family": "codegemma-7b-it",
    "serving_format": "openai_chat",
    "endpoints": "http://10.0.4.11:8000/v1",
    "model_identifier": "some-model",
}


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make_admin())
    return client


def test_deactivating_what_features_use_says_which_and_asks_again(admin: Client) -> None:
    deployment = make_deployment(name="gpu1")
    assign(Feature.DUO_CHAT, deployment)
    assign(Feature.CODE_COMPLETIONS, deployment)
    page = f"{DEPLOYMENTS}{deployment.pk}/change/"

    refused = admin.post(page, FILLED).content.decode()
    assert "2 features would lose gpu1: Code Completion, GitLab Duo Chat." in refused
    assert ModelDeployment.objects.get().is_active

    admin.post(page, {**FILLED, "deactivates_in_use": "on"})
    assert not ModelDeployment.objects.get().is_active


def test_deactivating_what_nobody_uses_asks_nothing(admin: Client) -> None:
    deployment = make_deployment(name="gpu1")

    admin.post(f"{DEPLOYMENTS}{deployment.pk}/change/", FILLED)

    assert not ModelDeployment.objects.get().is_active


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "8.8.8.8"])
def test_endpoint_that_will_not_be_dialled_is_saved_with_a_warning(
    admin: Client, host: str
) -> None:
    url = f"http://{host}:8000/v1"

    page = admin.post(f"{DEPLOYMENTS}add/", {**FILLED, "endpoints": url}, follow=True)

    told = page.content.decode()
    assert f"Saved, but {url} will not be asked: {host} points at" in told
    assert "add the host to UPSTREAM_ALLOWED_HOSTS" in told
    assert ModelDeployment.objects.get().endpoints == [url]


def test_endpoint_that_may_be_dialled_brings_no_warning(admin: Client, settings: Settings) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["localhost"]
    urls = "http://localhost:8000/v1\nhttp://10.0.4.11:8000/v1\nhttp://llm.example.com/v1"

    page = admin.post(f"{DEPLOYMENTS}add/", {**FILLED, "endpoints": urls}, follow=True)

    assert "will not be asked" not in page.content.decode()
