"""Measuring without being asked: once registered, every night, again if nothing answered."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from pytest_django import Settings

from gateway.audit import Attribution, Origin
from gateway.models import Lease
from gateway.probes.jobs import start_probe
from gateway.probes.measuring import LEASE
from gateway.probes.runs import carry_out
from gateway.probes.schedule import forget_runs, next_due, sweep
from selfhosted_models.background_runs import RunState
from selfhosted_models.models import Fingerprint, ModelDeployment
from selfhosted_models.probe_runs import KEPT_RUNS, ProbeKind, ProbeRun
from tests.factories import build_deployment, make_deployment
from tests.fakes.model_server import MODEL, ModelServer

pytestmark = [pytest.mark.enable_socket, pytest.mark.django_db]

EVENING = datetime(2027, 1, 15, 20, 0, tzinfo=UTC)
NOBODY = "http://127.0.0.1:1/v1"
BY = Attribution("dana", Origin.WEB)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """A wall clock that goes on from a known evening."""
    with time_machine.travel(EVENING, tick=True) as traveller:
        yield traveller


def fields(url: str) -> dict[str, Any]:
    return {"endpoints": [url], "model_identifier": MODEL, "family": "general"}


def due() -> ModelDeployment | None:
    return next_due(datetime.now(UTC))


def test_a_new_deployment_is_measured_once_it_has_settled(
    model_server: ModelServer, clock: time_machine.Traveller
) -> None:
    deployment = make_deployment(**fields(model_server.endpoint))

    sweep()
    at_once = Fingerprint.objects.count()
    clock.shift(timedelta(minutes=2))
    sweep()
    sweep()

    assert at_once == 0
    assert deployment.fingerprints.count() == 1
    run = ProbeRun.objects.get()
    assert (run.state, run.started_by) == (RunState.FINISHED, "schedule")


def test_it_is_measured_again_after_the_hour_of_the_night(
    model_server: ModelServer, clock: time_machine.Traveller
) -> None:
    make_deployment(**fields(model_server.endpoint))
    clock.shift(timedelta(minutes=2))
    sweep()

    clock.move_to(EVENING.replace(hour=23))
    late = due()
    clock.move_to(EVENING.replace(hour=3) + timedelta(days=1))
    sweep()

    assert late is None
    assert ProbeRun.objects.count() == 2


def test_another_model_is_measured_anew(
    model_server: ModelServer, clock: time_machine.Traveller
) -> None:
    deployment = make_deployment(**fields(model_server.endpoint))
    clock.shift(timedelta(minutes=2))
    sweep()

    deployment.model_identifier = "another"
    deployment.save()
    clock.shift(timedelta(minutes=2))

    assert due() == deployment


def test_one_that_does_not_answer_is_asked_again_in_a_while(clock: time_machine.Traveller) -> None:
    deployment = make_deployment(**fields(NOBODY))
    clock.shift(timedelta(minutes=2))
    sweep()

    soon = due()
    clock.shift(timedelta(minutes=16))

    assert soon is None
    assert due() == deployment


def test_what_was_tested_before_it_was_saved_is_not_measured_again(
    model_server: ModelServer, clock: time_machine.Traveller
) -> None:
    deployment = build_deployment(**fields(model_server.endpoint))
    run = start_probe(ProbeKind.MEASUREMENT, deployment, BY, is_stored=False)
    carry_out(run.pk)
    deployment.save()
    clock.shift(timedelta(minutes=2))

    assert due() is None
    run.refresh_from_db()
    assert run.fingerprint == deployment.fingerprints.get()


def test_one_is_measured_at_a_time(clock: time_machine.Traveller) -> None:
    make_deployment(**fields(NOBODY), name="one")
    make_deployment(**fields("http://127.0.0.1:2/v1"), name="two")
    clock.shift(timedelta(minutes=2))

    sweep()
    first = ProbeRun.objects.count()
    Lease.objects.take(LEASE, "another", lease_s=60, now=datetime.now(UTC).timestamp())
    sweep()

    assert (first, ProbeRun.objects.count()) == (1, 1)


def test_nothing_is_measured_where_that_is_switched_off(
    settings: Settings, clock: time_machine.Traveller
) -> None:
    settings.FINGERPRINT_HOUR = None
    make_deployment()
    clock.shift(timedelta(days=2))

    assert due() is None


def test_a_run_whose_worker_died_is_asked_again_from_its_start(
    model_server: ModelServer, clock: time_machine.Traveller
) -> None:
    run = start_probe(
        ProbeKind.CHECK, make_deployment(**fields(model_server.endpoint)), BY, is_stored=True
    )
    run.take_up("a worker that dies")
    run.record({"outcome": "half"})
    clock.shift(timedelta(minutes=1))

    sweep()

    run.refresh_from_db()
    assert (run.state, [found["outcome"] for found in run.results]) == (RunState.FINISHED, ["ok"])


def test_old_runs_are_forgotten(clock: time_machine.Traveller) -> None:
    deployment = make_deployment()
    for _ in range(KEPT_RUNS + 2):
        ProbeRun.objects.create(
            kind=ProbeKind.CHECK, deployment=deployment, state=RunState.FINISHED
        )
    ProbeRun.objects.create(
        kind=ProbeKind.INSPECTION,
        state=RunState.CANCELLED,
        draft={"api_key_ciphertext": "x", "name": ""},
    )

    clock.shift(timedelta(hours=2))
    forget_runs()
    left = ProbeRun.objects.get(kind=ProbeKind.INSPECTION)
    clock.shift(timedelta(days=2))
    forget_runs()

    assert left.draft == {"name": ""}
    assert ProbeRun.objects.count() == deployment.probe_runs.count() == KEPT_RUNS
