from typing import Any

import pytest
from django.conf import settings

from selfhosted_models.forms import ModelDeploymentForm
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox
from tests.factories import make_deployment

pytestmark = pytest.mark.django_db

KEY = "sk-0123456789abcdefWXYZ"
FILLED = {
    "name": "gpu1",
    "family": "codegemma-7b-it",
    "serving_format": "openai_text",
    "endpoints": "http://10.0.4.11:8000/v1",
    "model_identifier": "codegemma",
    "is_active": "on",
}


def form_with(instance: ModelDeployment | None = None, **data: Any) -> ModelDeploymentForm:
    return ModelDeploymentForm({**FILLED, **data}, instance=instance)


def saved(form: ModelDeploymentForm) -> ModelDeployment:
    assert form.is_valid(), form.errors
    return ModelDeployment.objects.get(pk=form.save().pk)


def key_of(deployment: ModelDeployment) -> str | None:
    key = deployment.decrypt_api_key(SecretBox(settings.ENCRYPTION_KEYS))
    return key.reveal() if key else None


def test_filled_form_stores_a_deployment() -> None:
    deployment = saved(form_with(context_tokens="8192", total_timeout_s="30"))

    assert deployment.name == "gpu1"
    assert deployment.endpoints == ["http://10.0.4.11:8000/v1"]
    assert (deployment.context_tokens, deployment.total_timeout_s) == (8192, 30)
    assert deployment.has_api_key is False


def test_endpoints_are_one_a_line() -> None:
    lines = "  http://gpu1/v1 \r\n\r\nhttp://gpu2/v1\nhttp://gpu3/v1\n"

    deployment = saved(form_with(endpoints=lines))

    assert deployment.endpoints == ["http://gpu1/v1", "http://gpu2/v1", "http://gpu3/v1"]


def test_endpoints_are_shown_one_a_line() -> None:
    deployment = make_deployment(endpoints=["http://gpu1/v1", "http://gpu2/v1"])

    html = ModelDeploymentForm(instance=deployment).as_p()

    assert "http://gpu1/v1\nhttp://gpu2/v1</textarea>" in html


def test_error_names_the_line_at_fault() -> None:
    form = form_with(endpoints="http://gpu1/v1\nhttp://me:pw@gpu2/v1\ngpu3")

    assert form.errors["endpoints"] == [
        "URL 2: Leave the user and password out of the URL: use the API key field.",
        "URL 3: The URL must begin with http:// or https:// and name a host.",
    ]


@pytest.mark.parametrize("endpoints", ["", "  ", "\r\n\r\n"])
def test_at_least_one_endpoint_is_asked_for(endpoints: str) -> None:
    assert form_with(endpoints=endpoints).errors["endpoints"] == ["This field is required."]


def test_unchanged_endpoints_do_not_count_as_changed() -> None:
    deployment = make_deployment(endpoints=["http://gpu1/v1", "http://gpu2/v1"])

    form = form_with(deployment, endpoints="http://gpu1/v1\r\nhttp://gpu2/v1")

    assert "endpoints" not in form.changed_data


def test_key_is_stored() -> None:
    assert key_of(saved(form_with(api_key=KEY))) == KEY


def test_empty_key_keeps_the_stored_one() -> None:
    deployment = make_deployment(api_key=KEY)

    assert key_of(saved(form_with(deployment, api_key=""))) == KEY


def test_new_key_replaces_the_stored_one() -> None:
    deployment = make_deployment(api_key=KEY)

    assert key_of(saved(form_with(deployment, api_key="sk-new"))) == "sk-new"


def test_key_is_removed_on_request() -> None:
    deployment = saved(form_with(make_deployment(api_key=KEY), remove_api_key="on"))

    assert key_of(deployment) is None
    assert deployment.api_key_hint == ""


def test_new_key_and_removal_at_once_are_refused() -> None:
    deployment = make_deployment(api_key=KEY)

    form = form_with(deployment, api_key="sk-new", remove_api_key="on")

    assert form.non_field_errors() == ["Either enter a new API key or remove the stored one."]
    assert key_of(ModelDeployment.objects.get()) == KEY


def test_removal_is_offered_only_where_a_key_is_stored() -> None:
    assert "remove_api_key" in ModelDeploymentForm(instance=make_deployment(api_key=KEY)).fields
    assert "remove_api_key" not in ModelDeploymentForm(instance=make_deployment()).fields
    assert "remove_api_key" not in ModelDeploymentForm().fields


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "ключ"], ids=ascii)
def test_bad_key_is_an_error_of_its_field(key: str) -> None:
    form = form_with(api_key=key)

    assert list(form.errors) == ["api_key"]
    assert key not in str(form.errors)


def test_key_that_is_too_long_is_refused_unseen() -> None:
    form = form_with(api_key="k" * 2001)

    assert list(form.errors) == ["api_key"]
    assert "kkk" not in form.as_p()


def test_another_host_asks_for_a_key_of_its_own() -> None:
    deployment = make_deployment(api_key=KEY)

    refused = form_with(deployment, endpoints="http://other/v1")

    assert list(refused.errors) == ["endpoints"]
    assert "entered for other hosts" in refused.errors["endpoints"][0]


def test_another_host_is_stored_with_a_key_of_its_own() -> None:
    deployment = make_deployment(api_key=KEY)

    changed = saved(form_with(deployment, endpoints="http://other/v1", api_key="sk-new"))

    assert (changed.endpoints, key_of(changed)) == (["http://other/v1"], "sk-new")


def test_stored_key_is_never_in_the_form() -> None:
    deployment = make_deployment(api_key=KEY)

    html = ModelDeploymentForm(instance=deployment).as_p()

    assert KEY not in html
    assert deployment.api_key_ciphertext not in html
    assert "A key ending in WXYZ is stored" in html


def test_entered_key_does_not_come_back_with_the_errors_of_the_form() -> None:
    form = form_with(api_key=KEY, endpoints="nonsense")

    html = form.as_p()

    assert list(form.errors) == ["endpoints"]
    assert KEY not in html


def test_short_key_has_no_hint() -> None:
    html = ModelDeploymentForm(instance=make_deployment(api_key="sk-short")).as_p()

    assert "A key is stored" in html
    assert "hort" not in html
