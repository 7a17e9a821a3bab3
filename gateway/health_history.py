"""How endpoints have been over time, out of what workers wrote down of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.charts import Change, Stretch, strip
from gateway.standing import health_tone
from selfhosted_models.models import EndpointHealth, EndpointHealthChange

MAX_CHANGES_TOLD = 100


@dataclass(frozen=True, slots=True)
class EndpointHistory:
    """One endpoint, and the stretches of its states from left to right."""

    deployment: str
    url: str
    state: str
    tone: str
    reason: str
    since: datetime
    heard_at: datetime
    stretches: Sequence[Stretch]


@dataclass(frozen=True, slots=True)
class ToldChange:
    """That an endpoint came into a state."""

    at: datetime
    deployment: str
    url: str
    state: str
    tone: str
    reason: str


@dataclass(frozen=True, slots=True)
class HealthHistory:
    """Every endpoint that was heard of, and the newest changes."""

    endpoints: Sequence[EndpointHistory]
    changes: Sequence[ToldChange]


def health_history(since: datetime, until: datetime) -> HealthHistory:
    """Return how endpoints have been between two times; two queries."""
    changes: dict[tuple[Any, str], list[Change]] = {}
    told: list[ToldChange] = []
    rows = EndpointHealthChange.objects.order_by("-at").values_list(
        "deployment_id", "deployment__name", "url", "state", "reason", "at"
    )
    for key, name, url, state, reason, at in rows:
        tone = health_tone(state)
        changes.setdefault((key, url), []).append(Change(at, state, tone))
        if since <= at < until and len(told) < MAX_CHANGES_TOLD:
            told.append(ToldChange(at, name, url, state, tone, reason))
    now = EndpointHealth.objects.select_related("deployment").order_by("deployment__name", "url")
    return HealthHistory(
        endpoints=[
            EndpointHistory(
                deployment=row.deployment.name,
                url=row.url,
                state=row.state,
                tone=health_tone(row.state),
                reason=row.reason,
                since=row.since,
                heard_at=row.heard_at,
                stretches=strip(changes.get((row.deployment_id, row.url), ()), since, until),
            )
            for row in now
        ],
        changes=told,
    )
