"""Asking model servers through the REST API: at once accepted, found out later."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from gateway.configuration.history import stored_data
from gateway.models import AuditRecord
from gateway.probes.runs import carry_out
from gateway.rest.scopes import Scope
from selfhosted_models.models import ModelDeployment
from selfhosted_models.probe_runs import ProbeRun
from tests.factories import make_deployment
from tests.fakes.model_server import MODEL, ModelServer
from tests.unit.gateway.rest.api import Api

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def path(model_server: ModelServer, settings: Settings, db: None) -> str:
    """The path of a deployment of the scripted server."""
    settings.UPSTREAM_ALLOWED_HOSTS = ["127.0.0.1"]
    endpoints = [model_server.endpoint]
    row = make_deployment(family="general", endpoints=endpoints, model_identifier=MODEL)
    return f"deployments/{row.pk}"


def test_a_probe_is_accepted_and_told_when_it_is_over(api: Api, path: str) -> None:
    accepted = api.post(f"{path}/probe/", None, x_request_id="req-7")
    carry_out(ProbeRun.objects.get().pk)
    told = api.get(accepted["Location"].removeprefix("/api/v1/")).json()

    assert (accepted.status_code, accepted.json()["state"]) == (202, "queued")
    assert (told["state"], told["kind"], told["results"][0]["outcome"]) == (
        "finished",
        "check",
        "ok",
    )
    assert AuditRecord.objects.get(action="deployment.check").request_id == "req-7"


def test_a_fingerprint_is_stored_and_told(api: Api, path: str) -> None:
    api.post(f"{path}/fingerprint/", None)
    carry_out(ProbeRun.objects.get().pk)

    (told,) = api.get("probe-runs/?kind=measurement").json()["results"]

    assert told["fingerprint"]["facts"]["chat"] is True
    assert told["fingerprint"]["differences"] == {}


def test_the_same_key_starts_one_run(api: Api, path: str) -> None:
    answers = [api.post(f"{path}/probe/", None, idempotency_key="once") for _ in range(2)]

    assert {answer.json()["id"] for answer in answers} == {ProbeRun.objects.get().pk}


def test_a_run_is_cancelled(api: Api, path: str, model_server: ModelServer) -> None:
    api.post(f"{path}/fingerprint/", None)
    run = ProbeRun.objects.get()

    told = api.post(f"probe-runs/{run.pk}/cancel/", None).json()
    carry_out(run.pk)

    assert told["state"] == "cancelled"
    assert model_server.exchanges == []


def test_what_is_behind_a_url_is_asked_before_anything_is_registered(
    api: Api, path: str, model_server: ModelServer
) -> None:
    body = {"url": model_server.endpoint, "api_key": "sk-canary-0123456789abcdef"}
    accepted = api.post("deployments/inspect/", body)
    carry_out(ProbeRun.objects.get().pk)
    told = api.get(accepted["Location"].removeprefix("/api/v1/"))

    (found,) = told.json()["results"]
    assert (accepted.status_code, told.json()["kind"]) == (202, "inspection")
    assert MODEL in [each["model_identifier"] for each in found["suggestions"]]
    assert b"sk-canary" not in accepted.content + told.content


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "url"), ({"url": "ftp://x"}, "url"), ({"url": "10.0.0.1", "api_key": "a b"}, "api_key")],
)
def test_what_cannot_be_asked_is_told_by_field(api: Api, body: dict[str, Any], field: str) -> None:
    answer = api.post("deployments/inspect/", body)

    assert (answer.status_code, [*answer.json()["errors"]]) == (422, [field])
    assert not ProbeRun.objects.exists()


def test_deployment_is_measured_before_it_is_registered(
    api: Api, path: str, model_server: ModelServer
) -> None:
    wanted = {
        "name": "new",
        "family": "general",
        "serving_format": "openai_chat",
        "endpoints": [model_server.endpoint],
        "model_identifier": MODEL,
    }
    accepted = api.post("deployments/test/", wanted)
    carry_out(ProbeRun.objects.get().pk)
    told = api.get(accepted["Location"].removeprefix("/api/v1/")).json()

    assert (accepted.status_code, told["kind"], told["state"]) == (202, "measurement", "finished")
    assert told["deployment"] is told["fingerprint"] is None
    assert not ModelDeployment.objects.filter(name="new").exists()


def test_change_of_a_deployment_is_measured_before_it_is_made(api: Api, path: str) -> None:
    before = stored_data()
    accepted = api.post(f"{path}/test/", {"model_identifier": "another"})

    assert (accepted.status_code, stored_data()) == (202, before)
    assert ProbeRun.objects.get().draft["model_identifier"] == "another"


def test_change_that_breaks_a_rule_is_not_measured(api: Api, path: str) -> None:
    answer = api.post(f"{path}/test/", {"first_token_timeout_s": 60, "total_timeout_s": 30})

    assert (answer.status_code, [*answer.json()["errors"]]) == (422, ["total_timeout_s"])


def test_too_many_are_told_to_wait(api: Api, path: str) -> None:
    *_, last = [api.post(f"{path}/probe/", None) for _ in range(11)]

    assert (last.status_code, last.json()["code"]) == (429, "user_quota_exceeded")
    assert last["Retry-After"] == "60"


def test_who_may_only_read_cannot_have_servers_asked(api_of: Callable[..., Api], path: str) -> None:
    reader = api_of(Scope.READ_CONFIGURATION)

    assert reader.post(f"{path}/probe/", None).status_code == 403
    assert reader.get("probe-runs/").status_code == 200
    assert not ProbeRun.objects.exists()
