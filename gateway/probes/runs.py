"""Runs of probes: carried out by whoever takes one up, finding by finding, until it is cancelled.

The row holds everything that is asked, so that any process can: see `gateway/evaluation/runs.py`.
"""

import secrets
from collections.abc import AsyncGenerator
from contextlib import closing, suppress
from dataclasses import asdict
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError

from gateway.beats import with_beats
from gateway.doors import model_server_door
from gateway.probes.checking import check_each
from gateway.probes.measuring import findings_of, store
from selfhosted_models.background_runs import MAX_ATTEMPTS, RunState
from selfhosted_models.endpoints import parse_line
from selfhosted_models.errors import DeploymentError
from selfhosted_models.models import ModelDeployment
from selfhosted_models.probe_runs import ProbeKind, ProbeRun
from selfhosted_models.probing.findings import failed
from selfhosted_models.probing.inspection import inspect_endpoint
from selfhosted_models.probing.results import Trait
from selfhosted_models.secrets import SecretBox

log = structlog.get_logger(__name__)

Finding = dict[str, Any]


def carry_out(run_id: int) -> None:
    """Ask what a run asks; nothing if it is over, or somebody else carries it out.

    One that was begun by a worker that died is asked again from its start.

    Args:
        run_id: Of a `ProbeRun`.
    """
    run = ProbeRun.objects.select_related("deployment").filter(pk=run_id).first()
    if run is None or not run.take_up(holder=secrets.token_hex(16)):
        return
    if run.attempts > MAX_ATTEMPTS:
        run.finish(RunState.FAILED, "Its workers died again and again: see their logs.")
        return
    try:
        _ask(run)
    except Exception as error:  # a bug: the run must not stay open for it
        with suppress(DatabaseError):
            run.finish(RunState.FAILED, f"An error of ours, {type(error).__name__}: see the log.")
        raise
    log.info("probe.finished", run=run.pk, kind=run.kind, state=run.state)


def _ask(run: ProbeRun) -> None:
    run.results = []
    deployment = asked_deployment(run)
    with closing(with_beats(_findings(run, deployment))) as findings:
        for finding in findings:
            if finding is not None:
                run.record(finding)
            elif not run.renew_lease():
                break
    keep_fingerprint(run, deployment)
    run.finish(RunState.FINISHED)


def asked_deployment(run: ProbeRun) -> ModelDeployment:
    """Return what `run` asks: the stored row, or one that is not stored."""
    return run.deployment if run.deployment and not run.draft else ModelDeployment(**run.draft)


def keep_fingerprint(run: ProbeRun, deployment: ModelDeployment | None) -> None:
    """Store what a measurement found, if it is of a deployment as it is stored by now."""
    if run.kind != ProbeKind.MEASUREMENT or deployment is None or run.fingerprint_id is not None:
        return
    stored = ModelDeployment.objects.filter(pk=deployment.pk).first()
    if stored is not None and stored.measured_subject == run.subject:
        run.fingerprint = store(stored, tuple(run.abilities))
        run.save(update_fields=["fingerprint"])


def _findings(run: ProbeRun, deployment: ModelDeployment) -> AsyncGenerator[Finding, None]:
    if run.kind == ProbeKind.INSPECTION:
        return _inspected(deployment)
    if run.kind == ProbeKind.CHECK:
        return _checked(deployment)
    return _measured(deployment)


async def _inspected(deployment: ModelDeployment) -> AsyncGenerator[Finding, None]:
    key = deployment.decrypt_api_key(SecretBox(settings.ENCRYPTION_KEYS))
    async with model_server_door() as door:
        found = await inspect_endpoint(door, parse_line(deployment.endpoints[0]), key)
    yield {**asdict(found), "corrected_url": found.corrected_url}


async def _checked(deployment: ModelDeployment) -> AsyncGenerator[Finding, None]:
    async for checked in check_each([deployment]):
        yield asdict(checked)


async def _measured(deployment: ModelDeployment) -> AsyncGenerator[Finding, None]:
    try:
        serving = deployment.to_serving_config(SecretBox(settings.ENCRYPTION_KEYS))
    except DeploymentError as error:
        yield asdict(failed(Trait.REACHABLE, error))
        return
    async for result in findings_of(serving):
        yield asdict(result)
