"""Probes that pages start: carried out from their rows, watched, cancelled, and forgotten."""

import threading
from typing import Any

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from gateway.audit import Attribution, Origin
from gateway.background import run_in_background
from gateway.models import AuditRecord
from gateway.probes.jobs import PER_MINUTE, cancel_probe, start_probe
from gateway.probes.runs import carry_out
from gateway.routing.errors import QuotaExceeded
from selfhosted_models.background_runs import RunState
from selfhosted_models.models import Fingerprint, ModelDeployment
from selfhosted_models.probe_runs import ProbeKind, ProbeRun
from selfhosted_models.probing.results import Trait
from tests.factories import build_deployment, make_deployment
from tests.fakes.model_server import MODEL, ModelServer, Script

pytestmark = [pytest.mark.enable_socket, pytest.mark.django_db]

BY = Attribution("dana", Origin.WEB)
KEY = "sk-canary-0123456789abcdef"


def at(url: str, **fields: Any) -> dict[str, Any]:
    return {"endpoints": [url], "model_identifier": MODEL, "family": "general", **fields}


def asked(kind: ProbeKind, deployment: ModelDeployment, *, is_stored: bool = False) -> ProbeRun:
    """Return a run that was started and carried out."""
    run = start_probe(kind, deployment, BY, is_stored=is_stored)
    carry_out(run.pk)
    run.refresh_from_db()
    return run


def test_nothing_is_asked_before_the_run_is_committed(
    model_server: ModelServer,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks() as queued:
        run = start_probe(
            ProbeKind.CHECK, make_deployment(**at(model_server.endpoint)), BY, is_stored=True
        )

    assert (run.state, run.started_by, len(queued)) == (RunState.QUEUED, "dana", 1)
    assert model_server.exchanges == []


def test_measuring_a_stored_deployment_stores_its_fingerprint(model_server: ModelServer) -> None:
    run = asked(ProbeKind.MEASUREMENT, make_deployment(**at(model_server.endpoint)), is_stored=True)

    assert run.state == RunState.FINISHED
    assert [result.trait for result in run.abilities] == list(Trait)
    assert run.fingerprint == Fingerprint.objects.get()


def test_what_is_not_stored_is_measured_with_its_key_which_is_then_forgotten(
    model_server: ModelServer,
) -> None:
    run = asked(ProbeKind.MEASUREMENT, build_deployment(api_key=KEY, **at(model_server.endpoint)))

    assert run.is_usable
    assert model_server.exchanges[-1].headers["authorization"] == f"Bearer {KEY}"
    assert "api_key_ciphertext" not in run.draft
    assert not Fingerprint.objects.exists()


def test_changes_that_are_not_saved_are_measured_and_leave_the_stored_row_as_it_was(
    model_server: ModelServer,
) -> None:
    stored = make_deployment(**at("http://127.0.0.1:1/v1"), api_key=KEY)
    stored.endpoints = [model_server.endpoint]

    run = asked(ProbeKind.MEASUREMENT, stored)

    assert run.is_usable
    assert run.deployment == stored
    assert run.fingerprint is None
    assert ModelDeployment.objects.get().endpoints == ["http://127.0.0.1:1/v1"]


def test_a_pasted_url_is_inspected(model_server: ModelServer) -> None:
    run = asked(ProbeKind.INSPECTION, ModelDeployment(endpoints=[model_server.url]))

    (found,) = run.results
    assert found["outcome"] == "ok"
    assert found["corrected_url"] == model_server.endpoint
    assert found["suggestions"][0]["model_identifier"] == MODEL


def test_each_endpoint_is_checked(model_server: ModelServer) -> None:
    good, gone = model_server.endpoint, "http://127.0.0.1:1/v1"

    run = asked(ProbeKind.CHECK, make_deployment(**at(good) | {"endpoints": [good, gone]}))

    assert [found["outcome"] for found in run.results] == ["ok", "refused"]
    assert "check that the server runs" in run.results[1]["message"]


def test_a_cancelled_run_is_never_begun_and_keeps_no_key(model_server: ModelServer) -> None:
    deployment = build_deployment(api_key=KEY, **at(model_server.endpoint))
    run = start_probe(ProbeKind.MEASUREMENT, deployment, BY, is_stored=False)

    assert cancel_probe(run)
    assert not cancel_probe(run)
    carry_out(run.pk)

    run.refresh_from_db()
    assert (run.state, run.results) == (RunState.CANCELLED, [])
    assert "api_key_ciphertext" not in run.draft
    assert model_server.exchanges == []


@pytest.mark.django_db(transaction=True)
def test_cancelling_closes_the_connection_at_hand(model_server: ModelServer) -> None:
    model_server.answer_with(Script(stall="before_headers"))
    run = start_probe(
        ProbeKind.MEASUREMENT, make_deployment(**at(model_server.endpoint)), BY, is_stored=True
    )
    # `start_probe` has it carried out by the thread of this process.
    exchange = model_server.wait_for_request()

    cancel_probe(run)

    assert exchange.closed_by_peer.wait(5)
    _wait_for_the_background()
    run.refresh_from_db()
    assert (run.state, run.results) == (RunState.CANCELLED, [])


def _wait_for_the_background() -> None:
    """Return once the thread has done what it had to, and closed its connections."""

    class Last:
        name = "probes.last"
        done = threading.Event()

        def __call__(self) -> None:
            self.done.set()

    last = Last()
    run_in_background(last)
    assert last.done.wait(10)


def test_starting_is_audited_without_the_key(model_server: ModelServer) -> None:
    deployment = build_deployment(name="gpu1", api_key=KEY, **at(model_server.endpoint))

    start_probe(ProbeKind.MEASUREMENT, deployment, BY, is_stored=False)

    record = AuditRecord.objects.get(action="deployment.measurement")
    assert (record.author, record.object_name) == ("dana", "gpu1")
    assert record.changes == {"endpoints": [None, [model_server.endpoint]]}


def test_one_author_asks_ten_times_a_minute() -> None:
    deployment = make_deployment()
    for _ in range(PER_MINUTE):
        start_probe(ProbeKind.CHECK, deployment, BY, is_stored=True)

    with pytest.raises(QuotaExceeded) as refusal:
        start_probe(ProbeKind.CHECK, deployment, BY, is_stored=True)

    assert "10 tests of model servers a minute" in refusal.value.safe_message
    other = Attribution("someone else", Origin.WEB)
    assert start_probe(ProbeKind.CHECK, deployment, other, is_stored=True)
