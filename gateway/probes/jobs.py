"""Probes that pages and programs start; none of them waits for a model server.

How far a run is, is in its row: `results` so far, `state` and `reason`.
"""

from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from gateway import audit
from gateway.audit import Attribution
from gateway.background import run_in_background
from gateway.routing.errors import QuotaExceeded
from gateway.tasks import carry_out_probe
from selfhosted_models.models import ModelDeployment
from selfhosted_models.probe_runs import ProbeKind, ProbeRun

#: One author's; probes can be made to look around in a network.
PER_MINUTE = 10

_ASKED_WITH = (
    *("name", "family", "serving_format", "endpoints", "model_identifier"),
    *("api_key_ciphertext", "api_key_hint", "api_key_fingerprint"),
    *("context_tokens", "max_in_flight"),
    *("first_token_timeout_s", "idle_timeout_s", "total_timeout_s"),
)


def start_probe(
    kind: ProbeKind, deployment: ModelDeployment, by: Attribution, *, is_stored: bool
) -> ProbeRun:
    """Store a run and have it carried out once that is committed.

    Args:
        kind: What is asked.
        deployment: Whom. Of an inspection, it needs no more than one endpoint, and maybe a key.
        by: Who wants it; goes into the audit trail.
        is_stored: Whether the row is asked as it is stored, or as it is here.

    Raises:
        QuotaExceeded: This author has asked too often.
        EndpointRefused: Its endpoint is not a URL.
    """
    minute_ago = timezone.now() - timedelta(minutes=1)
    asked = ProbeRun.objects.filter(started_by=by.author, created_at__gte=minute_ago).count()
    if asked >= PER_MINUTE:
        raise QuotaExceeded(f"{PER_MINUTE} tests of model servers a minute", retry_after_s=60)
    stored = deployment if is_stored else ModelDeployment.objects.filter(pk=deployment.pk).first()
    with transaction.atomic():
        run = ProbeRun.objects.create(
            kind=kind,
            deployment=stored,
            draft={} if is_stored else _draft_of(deployment),
            subject=deployment.measured_subject if kind == ProbeKind.MEASUREMENT else "",
            started_by=by.author,
            is_background=True,
        )
        audit.record(
            by,
            f"deployment.{kind}",
            object_id=str(stored.pk) if stored else "",
            object_name=deployment.name,
            changes={"endpoints": (None, deployment.endpoints)},
        )
        transaction.on_commit(partial(run_in_background, carry_out_probe, run.pk))
    return run


def cancel_probe(run: ProbeRun) -> bool:
    """Cancel a run wherever it is carried out; False if it was over."""
    is_cancelled = bool(ProbeRun.objects.filter(pk=run.pk).cancel())
    run.refresh_from_db()
    run.forget_key()
    return is_cancelled


def _draft_of(deployment: ModelDeployment) -> dict[str, Any]:
    """Return the fields of a deployment; the key stays encrypted, for the row of this id."""
    fields = {name: getattr(deployment, name) for name in _ASKED_WITH}
    return {"id": str(deployment.pk), **fields}
