"""What model servers are asked without anybody asking.

Each is measured once it is registered, and every night; never two at once in the whole
installation.
"""

import secrets
import time
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils import timezone

from gateway.models import Lease
from gateway.probes.measuring import LEASE, LEASE_SPARE_S
from gateway.probes.runs import carry_out, keep_fingerprint
from selfhosted_models.background_runs import RunState
from selfhosted_models.errors import EndpointRefused
from selfhosted_models.models import ModelDeployment
from selfhosted_models.probe_runs import KEPT_RUNS, ProbeKind, ProbeRun
from selfhosted_models.probing.measuring import WITHIN_S

AUTHOR = "schedule"
#: A row that was just saved may be saved again, or asked by its admin.
SETTLED_AFTER = timedelta(minutes=1)
#: A server that did not answer is asked again after so long: it may be loading its model.
AGAIN_AFTER = timedelta(minutes=15)
#: A deployment is made of an inspection within so long, or the key is entered again.
KEY_KEPT_FOR = timedelta(hours=1)
#: Runs of no stored deployment are kept so long.
KEPT_FOR = timedelta(days=1)


def sweep() -> None:
    """Carry out what a worker that died has left undone, then measure one deployment that is due.

    One alone, so that what somebody waits for has its turn in between.
    """
    for run_id in ProbeRun.objects.abandoned().values_list("pk", flat=True):
        carry_out(run_id)
    row = next_due(timezone.now())
    holder = secrets.token_hex(16)
    lease_s = WITHIN_S + LEASE_SPARE_S
    if row is None or not Lease.objects.take(LEASE, holder, lease_s=lease_s, now=time.time()):
        return
    try:
        run = ProbeRun.objects.create(
            kind=ProbeKind.MEASUREMENT,
            deployment=row,
            subject=row.measured_subject,
            started_by=AUTHOR,
            is_background=True,
        )
        carry_out(run.pk)
    finally:
        Lease.objects.give_up(LEASE, holder)


def next_due(now: datetime) -> ModelDeployment | None:
    """Return the active deployment to be measured next; None if each was since last night.

    What was measured before it was stored is stored with it on the way.
    """
    hour: int | None = settings.FINGERPRINT_HOUR
    if hour is None:
        return None
    newest: dict[str, ProbeRun] = {}
    for run in ProbeRun.objects.measurements_since(_last(hour, now)):
        newest.setdefault(run.subject, run)
    settled = ModelDeployment.objects.active().filter(updated_at__lt=now - SETTLED_AFTER)
    for row in settled.order_by("updated_at"):
        try:
            last = newest.get(row.measured_subject)
        except EndpointRefused:  # a row that no form has checked
            continue
        if last is None:
            return row
        if last.state == RunState.FINISHED and last.is_usable:
            keep_fingerprint(last, row)
        elif last.is_over and last.created_at < now - AGAIN_AFTER:
            return row
    return None


def _last(hour: int, now: datetime) -> datetime:
    """Return when it was that hour the last time, in UTC."""
    today = now.astimezone(UTC).replace(hour=hour, minute=0, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)


def forget_runs() -> None:
    """Delete the runs that nobody looks at any more; no key outlives its run."""
    over = ProbeRun.objects.exclude(state__in=[RunState.QUEUED, RunState.RUNNING])
    for run in over.exclude(draft={}).filter(created_at__lt=timezone.now() - KEY_KEPT_FOR):
        run.forget_key()
    over.filter(deployment=None, created_at__lt=timezone.now() - KEPT_FOR).delete()
    for row in ModelDeployment.objects.all():
        kept = list(row.probe_runs.values_list("pk", flat=True)[:KEPT_RUNS])
        over.filter(deployment=row).exclude(pk__in=kept).delete()
