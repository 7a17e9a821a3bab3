import re
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from feature_config.catalogue import Feature
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox
from tests.factories import assign, make_admin, make_deployment

pytestmark = [
    pytest.mark.django_db,
    # Static files come from the packages; the folder they could be collected in need not exist.
    pytest.mark.filterwarnings("ignore:No directory at"),
]

LIST = "/admin/selfhosted_models/modeldeployment/"
KEY = "sk-0123456789abcdefWXYZ"
NEW_KEY = "sk-another-key-of-some-length"
FILLED = {
    "name": "gpu1",
    "family": "codegemma-7b-it",
    "serving_format": "openai_text",
    "endpoints": "http://10.0.4.11:8000/v1",
    "model_identifier": "codegemma",
    "is_active": "on",
}


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make_admin())
    return client


def page_of(deployment: ModelDeployment) -> str:
    return f"{LIST}{deployment.pk}/change/"


def columns(html: str, name: str) -> list[str]:
    """Return the texts of one column of the list, top to bottom."""
    cells = re.findall(rf'<t[dh] class="field-{name}[^"]*">(.*?)</t[dh]>', html)
    return [re.sub(r"<[^>]*>", "", cell) for cell in cells]


def queries_of(admin: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert admin.get(url).status_code == 200
    return len(queries)


def key_of(deployment: ModelDeployment) -> str | None:
    fresh = ModelDeployment.objects.get(pk=deployment.pk)
    key = fresh.decrypt_api_key(SecretBox(settings.ENCRYPTION_KEYS))
    return key.reveal() if key else None


def history() -> str:
    """Return all that Django's admin wrote down of what was done."""
    return str(list(LogEntry.objects.values()))


def test_list_shows_each_deployment_and_what_uses_it(admin: Client) -> None:
    deployment = make_deployment(name="gpu1", endpoints=["http://gpu1/v1", "http://gpu2/v1"])
    make_deployment(name="idle")
    for feature in (Feature.DUO_CHAT, Feature.CODE_COMPLETIONS):
        assign(feature, deployment)

    html = admin.get(LIST).content.decode()

    assert columns(html, "name") == ["gpu1", "idle"]
    assert columns(html, "endpoint_list")[0] == "http://gpu1/v1, http://gpu2/v1"
    assert columns(html, "used_by") == ["Code Completion, GitLab Duo Chat", "-"]


def test_list_asks_as_many_queries_for_many_deployments_as_for_one(admin: Client) -> None:
    assign(Feature.DUO_CHAT, make_deployment())
    few = queries_of(admin, LIST)

    deployments = [make_deployment(api_key=KEY) for _ in range(6)]
    for feature in Feature:
        assign(feature, *deployments)

    assert queries_of(admin, LIST) == few


def test_adding_stores_a_deployment_with_its_key(admin: Client) -> None:
    response = admin.post(f"{LIST}add/", {**FILLED, "api_key": KEY})

    assert (response.status_code, response.headers["Location"]) == (302, LIST)
    deployment = ModelDeployment.objects.get(name="gpu1")
    assert deployment.endpoints == ["http://10.0.4.11:8000/v1"]
    assert key_of(deployment) == KEY


def test_adding_says_what_is_wrong_and_stores_nothing(admin: Client) -> None:
    filled = {**FILLED, "endpoints": "http://gpu1/v1\nhttp://gpu2/../v1", "api_key": KEY}

    html = admin.post(f"{LIST}add/", filled).content.decode()

    assert "URL 2: The path of the URL must be plain" in html
    assert KEY not in html
    assert not ModelDeployment.objects.exists()


def test_change_keeps_the_key_when_none_is_entered(admin: Client) -> None:
    deployment = make_deployment(api_key=KEY)

    response = admin.post(page_of(deployment), {**FILLED, "name": "renamed", "api_key": ""})

    assert response.status_code == 302
    assert ModelDeployment.objects.get().name == "renamed"
    assert key_of(deployment) == KEY


def test_change_removes_the_key_on_request(admin: Client) -> None:
    deployment = make_deployment(api_key=KEY)

    response = admin.post(page_of(deployment), {**FILLED, "remove_api_key": "on"})

    assert response.status_code == 302
    assert key_of(deployment) is None


def test_change_refuses_removal_and_a_new_key_at_once(admin: Client) -> None:
    deployment = make_deployment(api_key=KEY)

    response = admin.post(
        page_of(deployment), {**FILLED, "remove_api_key": "on", "api_key": NEW_KEY}
    )

    assert "Either enter a new API key or remove the stored one." in response.content.decode()
    assert key_of(deployment) == KEY


def test_removal_is_offered_only_where_a_key_is_stored(admin: Client) -> None:
    rich, poor = make_deployment(api_key=KEY), make_deployment()

    assert 'name="remove_api_key"' in admin.get(page_of(rich)).content.decode()
    assert 'name="remove_api_key"' not in admin.get(page_of(poor)).content.decode()


def test_no_page_ever_holds_a_key(admin: Client) -> None:
    deployment = make_deployment(api_key=KEY)
    urls = [LIST, page_of(deployment), f"{LIST}{deployment.pk}/history/"]
    urls.append(f"{LIST}{deployment.pk}/delete/")

    html = "".join(admin.get(url).content.decode() for url in urls)

    assert deployment.name in html
    assert KEY not in html
    assert deployment.api_key_ciphertext not in html


def test_history_says_that_the_key_changed_and_never_which_it_is(admin: Client) -> None:
    admin.post(f"{LIST}add/", {**FILLED, "api_key": KEY})
    deployment = ModelDeployment.objects.get()
    admin.post(page_of(deployment), {**FILLED, "api_key": NEW_KEY})

    told = history()

    assert LogEntry.objects.count() == 2
    assert "API key" in told
    for secret in (KEY, NEW_KEY, "WXYZ", key_of(deployment) or "", deployment.api_key_ciphertext):
        assert secret not in told


@pytest.mark.parametrize(
    "wrong",
    [{"endpoints": "nonsense"}, {"remove_api_key": "on"}, {"name": ""}, {"api_key": f"{KEY} x"}],
    ids=str,
)
def test_key_entered_in_a_refused_form_does_not_come_back(
    admin: Client, wrong: dict[str, Any]
) -> None:
    deployment = make_deployment(api_key="sk-stored-before-this-test")

    response = admin.post(page_of(deployment), {**FILLED, "api_key": KEY, **wrong})

    assert response.status_code == 200
    assert KEY not in response.content.decode()
    assert history() == "[]"


def test_family_a_feature_refuses_is_shown_at_its_field(admin: Client) -> None:
    deployment = make_deployment()
    assign(Feature.CODE_COMPLETIONS, deployment)

    response = admin.post(page_of(deployment), {**FILLED, "family": "mistral-7b"})

    assert response.status_code == 200
    assert "family" in response.context["adminform"].form.errors
    assert ModelDeployment.objects.get().family == "codegemma-7b-it"


def test_deployment_in_use_is_not_deleted(admin: Client) -> None:
    deployment = make_deployment()
    assign(Feature.DUO_CHAT, deployment)

    response = admin.post(f"{LIST}{deployment.pk}/delete/", {"post": "yes"})

    assert "would require deleting the following protected" in response.content.decode()
    assert ModelDeployment.objects.get() == deployment


def test_chosen_deployments_in_use_are_not_deleted_together(admin: Client) -> None:
    used, unused = make_deployment(), make_deployment()
    assign(Feature.DUO_CHAT, used)

    chosen = [str(used.pk), str(unused.pk)]
    admin.post(LIST, {"action": "delete_selected", "_selected_action": chosen, "post": "yes"})

    assert ModelDeployment.objects.count() == 2


def test_unused_deployment_is_deleted(admin: Client) -> None:
    deployment = make_deployment(api_key=KEY)

    admin.post(f"{LIST}{deployment.pk}/delete/", {"post": "yes"})

    assert not ModelDeployment.objects.exists()
    assert KEY not in history()


def test_search_finds_name_and_model(admin: Client) -> None:
    make_deployment(name="gpu1")
    make_deployment(name="other", model_identifier="gpu1-model")
    make_deployment(name="third")

    html = admin.get(LIST, {"q": "gpu1"}).content.decode()

    assert columns(html, "name") == ["gpu1", "other"]


def test_stranger_is_sent_to_the_login() -> None:
    response = Client().post(f"{LIST}add/", {**FILLED, "api_key": KEY})

    assert response.headers["Location"].startswith("/admin/login/")
    assert not ModelDeployment.objects.exists()
