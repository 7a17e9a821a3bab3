"""Adding a deployment by its URL, and testing one before it is saved."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from gateway.probes.runs import carry_out
from selfhosted_models.background_runs import RunState
from selfhosted_models.models import DeploymentLoad, Fingerprint, ModelDeployment
from selfhosted_models.probe_runs import ProbeKind, ProbeRun
from selfhosted_models.secrets import SecretBox
from tests.factories import make_admin, make_deployment, make_fingerprint, make_user
from tests.fakes.model_server import MODEL, ModelServer, Script
from tests.unit.gateway.pages.test_deployments import DEPLOYMENTS, FILLED

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.enable_socket,
    pytest.mark.filterwarnings("ignore:No directory at"),
]

KEY = "sk-canary-0123456789abcdef"
FETCH = {"X-Requested-With": "fetch"}


@pytest.fixture
def admin(settings: Settings) -> Client:
    settings.UPSTREAM_ALLOWED_HOSTS = ["127.0.0.1"]
    client = Client()
    client.force_login(make_admin(username="dana"))
    return client


def text(answer: Any) -> str:
    """Return what a page says, on one line."""
    return re.sub(r"\s+", " ", answer.content.decode())


def asked(admin: Client, url: str, key: str = "") -> str:
    """Ask what is at `url`, and return the page that shows it."""
    page = admin.post(f"{DEPLOYMENTS}ask/", {"url": url, "api_key": key})
    carry_out(ProbeRun.objects.latest("pk").pk)
    return str(page["Location"])


def test_a_server_with_a_wrong_suffix_is_found_and_registered_by_one_click(
    admin: Client, model_server: ModelServer
) -> None:
    page = asked(admin, f"{model_server.url}/v1/chat/completions")

    told = text(admin.get(page))
    assert f"serves {MODEL}. Register it as {model_server.endpoint}." in told
    form = admin.get(f"{page}&suggestion=0").context["adminform"].form
    assert form.initial["endpoints"] == [model_server.endpoint]
    assert (form.initial["model_identifier"], form.initial["name"]) == (MODEL, MODEL)


def test_nobody_is_asked_before_the_page_is_answered(
    admin: Client, model_server: ModelServer
) -> None:
    page = admin.post(f"{DEPLOYMENTS}ask/", {"url": model_server.url})
    shown = text(admin.get(page["Location"]))

    assert model_server.exchanges == []
    assert "Waiting for its turn" in shown
    assert "data-live" in shown


def test_a_server_that_wants_a_key_says_so_and_keeps_the_one_that_opened_it(
    admin: Client, model_server: ModelServer, settings: Settings
) -> None:
    model_server.answer_with(Script.error(401))
    refused = text(admin.get(asked(admin, model_server.endpoint)))
    model_server.answer_with(Script())
    page = asked(admin, model_server.endpoint, KEY)

    fields = {**FILLED, "endpoints": model_server.endpoint}
    admin.post(f"{page}&suggestion=0", fields)

    assert "wants an API key: enter it and ask again" in refused
    stored = ModelDeployment.objects.get()
    assert stored.holds_api_key(KEY, SecretBox(settings.ENCRYPTION_KEYS))
    assert stored.api_key_hint == KEY[-4:]


def test_another_host_asks_for_its_own_key(admin: Client, model_server: ModelServer) -> None:
    page = asked(admin, model_server.endpoint, KEY)

    refused = admin.post(page, {**FILLED, "endpoints": "http://10.0.4.11:8000/v1"})

    assert f"The key you entered was for {model_server.endpoint}" in refused.content.decode()
    assert not ModelDeployment.objects.exists()


def test_no_page_shows_the_key(admin: Client, model_server: ModelServer) -> None:
    page = asked(admin, model_server.endpoint, KEY)

    assert KEY not in text(admin.get(page))
    assert KEY not in repr(list(ProbeRun.objects.values()))


def test_what_is_no_url_is_told_at_once(admin: Client) -> None:
    answer = admin.post(f"{DEPLOYMENTS}ask/", {"url": "http://user:pw@gpu1"})

    assert "Leave the user and password out" in text(answer)
    assert not ProbeRun.objects.exists()


def test_anothers_inspection_fills_in_nothing(admin: Client, model_server: ModelServer) -> None:
    page = asked(admin, model_server.endpoint, KEY)
    other = Client()
    other.force_login(make_admin())

    seen = other.get(f"{page}&suggestion=0")

    assert MODEL not in text(seen)


@pytest.mark.parametrize("query", ["probe=x", "probe=99999999999999999999", "probe=7", "probe="])
def test_an_inspection_that_there_is_not_is_passed_over(admin: Client, query: str) -> None:
    assert admin.get(f"{DEPLOYMENTS}add/?{query}&suggestion=-1").status_code == 200


def test_unsaved_fields_are_tested_and_compared_with_what_was_measured(
    admin: Client, model_server: ModelServer
) -> None:
    row = make_deployment(name="gpu1", family="general", model_identifier=MODEL)
    row.endpoints = [model_server.endpoint]
    make_fingerprint(row, chat=True, streaming=False)
    fields = {
        "name": "gpu1",
        "family": "general",
        "serving_format": "openai_chat",
        "endpoints": model_server.endpoint,
        "model_identifier": MODEL,
    }

    answer = admin.post(reverse("admin:deployment_test", args=[row.pk]), fields, headers=FETCH)
    carry_out(ProbeRun.objects.get().pk)
    told = text(admin.get(reverse("admin:probe_findings", args=[ProbeRun.objects.get().pk])))

    assert answer.status_code == 200
    assert "The server answers." in told
    assert "Changed since the last measurement: streaming: yes, was no" in told
    assert "data-live" not in told
    assert ModelDeployment.objects.get().endpoints != [model_server.endpoint]
    assert Fingerprint.objects.count() == 1


def test_a_form_that_cannot_be_tested_says_why(admin: Client) -> None:
    fields = {**FILLED, "endpoints": "gpu1"}

    answer = admin.post(reverse("admin:deployment_test_new"), fields, headers=FETCH)

    assert answer.status_code == 422
    assert "Endpoints: URL 1" in text(answer)
    assert not ProbeRun.objects.exists()


def test_without_a_script_the_test_has_a_page_of_its_own(
    admin: Client, model_server: ModelServer
) -> None:
    fields = {**FILLED, "endpoints": model_server.endpoint}

    page = admin.post(reverse("admin:deployment_test_new"), fields, follow=True)

    assert "Waiting for its turn" in text(page)
    assert 'http-equiv="refresh"' in text(page)


def test_a_test_is_cancelled(admin: Client) -> None:
    admin.post(reverse("admin:deployment_test_new"), FILLED, headers=FETCH)
    run = ProbeRun.objects.get()

    told = text(admin.post(reverse("admin:probe_cancel", args=[run.pk]), headers=FETCH))

    run.refresh_from_db()
    assert (run.state, run.kind) == (RunState.CANCELLED, ProbeKind.MEASUREMENT)
    assert "Cancelled" in told


def test_a_deployments_page_shows_health_fingerprint_and_drift(admin: Client) -> None:
    row = make_deployment()
    before = make_fingerprint(row, context=16384)
    before.differences = {"context": [32768, 16384]}
    before.save()

    told = text(admin.get(f"{DEPLOYMENTS}{row.pk}/change/"))

    assert "context: 16,384" in told
    assert "the server changed. context: 16,384, was 32,768" in told
    assert "Nobody has heard of them yet" in told


def test_a_deployments_page_shows_what_all_workers_have_under_way(admin: Client) -> None:
    row = make_deployment()
    for worker, waiting in (("a", 3), ("b", 1)):
        DeploymentLoad.objects.create(
            deployment=row,
            worker=worker,
            in_flight=4,
            slots=4,
            waiting={"chat": waiting},
            told_at=timezone.now(),
        )

    told = text(admin.get(f"{DEPLOYMENTS}{row.pk}/change/"))

    assert "8 of 8 slots in use" in told
    assert "4 waiting: chat" in told


def test_a_viewer_sees_findings_and_starts_nothing(admin: Client) -> None:
    row = make_deployment()
    admin.post(reverse("admin:deployment_test", args=[row.pk]), FILLED, headers=FETCH)
    viewer = Client()
    viewer.force_login(make_user("viewer"))

    run = ProbeRun.objects.get()
    assert viewer.get(reverse("admin:probe_run", args=[run.pk])).status_code == 200
    assert viewer.post(reverse("admin:probe_cancel", args=[run.pk])).status_code == 403
    assert viewer.post(reverse("admin:deployment_test", args=[row.pk])).status_code == 403
