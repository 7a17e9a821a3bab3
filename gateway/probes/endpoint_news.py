"""What workers know of endpoints, written down: for the admin's pages, commands, and each other.

Everything here talks to the database and runs in the worker's database thread.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.db import transaction

from gateway.models import Lease
from selfhosted_models.models import (
    DeploymentLoad,
    EndpointHealth,
    EndpointHealthChange,
    ModelDeployment,
)

PROBER = "endpoint prober"
#: A worker that says nothing for so long is not the prober any more.
PROBER_LEASE_S = 30.0
#: What a worker says of its load is told again before that.
LOAD_HOLDS_S = 15.0
#: Changes kept of each endpoint.
KEPT_CHANGES = 50

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class News:
    """What a worker has last heard of an endpoint.

    Attributes:
        deployment: Its name.
        url: Of the endpoint.
        state: A `HealthState`.
        reason: What happened and what to do; "" while all is well.
        since: When it came into this state; seconds since 1970.
        heard_at: When it last said anything; seconds since 1970.
    """

    deployment: str
    url: str
    state: str
    reason: str
    since: float
    heard_at: float

    @property
    def key(self) -> Key:
        return (self.deployment, self.url)


@dataclass(frozen=True, slots=True)
class Load:
    """What a worker has under way at a deployment.

    Attributes:
        deployment: Its name.
        in_flight: Requests the servers work on.
        slots: How many it may have in flight.
        waiting: Requests waiting for a slot, by lane.
    """

    deployment: str
    in_flight: int
    slots: int
    waiting: Mapping[str, int]

    @property
    def is_idle(self) -> bool:
        return not self.in_flight and not any(self.waiting.values())


class Exchange(Protocol):
    """Tells what one worker has heard, and returns what all have and whether it is to probe."""

    def __call__(
        self, told: Iterable[News], loads: Iterable[Load], /, *, worker: str, now: float
    ) -> tuple[dict[Key, News], bool]: ...


class OwnNews:
    """What one worker has heard, where there is no database to tell the others by."""

    def __init__(self) -> None:
        self._known: dict[Key, News] = {}

    def exchange(
        self, told: Iterable[News], loads: Iterable[Load], /, *, worker: str, now: float
    ) -> tuple[dict[Key, News], bool]:
        """Remember what was heard; every worker probes for itself."""
        self._known.update((news.key, news) for news in told)
        return self._known, True


def exchange_news(
    told: Iterable[News], loads: Iterable[Load], /, *, worker: str, now: float
) -> tuple[dict[Key, News], bool]:
    """Write down what this worker has heard; return what all have, and whether it is to probe.

    Args:
        told: News since the last time; older than what is known, it is passed over.
        loads: Of the deployments at which it has anything under way, or had the last time.
        worker: Its name, unique among all workers.
        now: Seconds since 1970.
    """
    with transaction.atomic():
        known = stored_news()
        ids = dict(ModelDeployment.objects.values_list("name", "id"))
        for news in told:
            before = known.get(news.key)
            if news.deployment not in ids or (before and before.heard_at >= news.heard_at):
                continue
            _write(ids[news.deployment], news, is_change=before is None or _differs(before, news))
            known[news.key] = news
        for load in loads:
            if load.deployment in ids:
                _write_load(ids[load.deployment], load, worker, now)
    is_prober = Lease.objects.take(PROBER, worker, lease_s=PROBER_LEASE_S, now=now)
    if is_prober:  # also of the workers that have died
        DeploymentLoad.objects.filter(told_at__lt=_time(now - 2 * LOAD_HOLDS_S)).delete()
    return known, is_prober


def load_of(row: ModelDeployment, *, now: float) -> Load | None:
    """Return what all workers together have under way at a deployment; None if nothing."""
    told = list(row.load.filter(told_at__gte=_time(now - LOAD_HOLDS_S)))
    waiting: Counter[str] = Counter()
    for each in told:
        waiting.update(each.waiting)
    slots = sum(each.slots for each in told)
    load = Load(row.name, sum(each.in_flight for each in told), slots, dict(waiting))
    return None if load.is_idle else load


def stored_news() -> dict[Key, News]:
    """Return what was last heard of each endpoint; blocks.

    On a gateway node without a database that is nothing: each worker keeps its own to itself.
    """
    if settings.SERVING_CONFIG_URL:
        return {}
    rows = EndpointHealth.objects.select_related("deployment")
    return {
        (row.deployment.name, row.url): News(
            deployment=row.deployment.name,
            url=row.url,
            state=row.state,
            reason=row.reason,
            since=row.since.timestamp(),
            heard_at=row.heard_at.timestamp(),
        )
        for row in rows
    }


def _differs(before: News, news: News) -> bool:
    return (before.state, before.reason) != (news.state, news.reason)


def _write(deployment_id: object, news: News, *, is_change: bool) -> None:
    values: Mapping[str, object] = {"state": news.state, "reason": news.reason}
    times: dict[str, object] = {"heard_at": _time(news.heard_at)}
    if is_change:
        times["since"] = _time(news.since)
    place = {"deployment_id": deployment_id, "url": news.url}
    EndpointHealth.objects.update_or_create(
        **place,
        defaults={**values, **times},
        create_defaults={**values, **times, "since": _time(news.since)},
    )
    if is_change:
        EndpointHealthChange.objects.create(**place, **values, at=_time(news.since))
        kept = EndpointHealthChange.objects.filter(**place).order_by("-at")[:KEPT_CHANGES]
        EndpointHealthChange.objects.filter(**place).exclude(
            pk__in=list(kept.values_list("pk", flat=True))
        ).delete()


def _write_load(deployment_id: UUID, load: Load, worker: str, now: float) -> None:
    mine = DeploymentLoad.objects.filter(deployment_id=deployment_id, worker=worker)
    if load.is_idle:
        mine.delete()
        return
    values = {"in_flight": load.in_flight, "slots": load.slots, "waiting": dict(load.waiting)}
    DeploymentLoad.objects.update_or_create(
        deployment_id=deployment_id, worker=worker, defaults={**values, "told_at": _time(now)}
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
