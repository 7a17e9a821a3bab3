"""How endpoints have been over time, out of what workers wrote down of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, Subquery

from gateway.pages.charts import Change, Shape, strip
from gateway.standing import health_tone
from selfhosted_models.models import EndpointHealth, EndpointHealthChange

STRIP_HEIGHT = 18.0
MAX_CHANGES_TOLD = 100


@dataclass(frozen=True, slots=True)
class EndpointHistory:
    """One endpoint: how it is, and how it was from left to right.

    Attributes:
        changes: How often its state changed in this time.
    """

    deployment: str
    url: str
    state: str
    tone: str
    reason: str
    since: datetime
    heard_at: datetime
    strip: Sequence[Shape]
    changes: int


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
    """Return how endpoints have been between two times; three queries."""
    changes: dict[tuple[str, str], list[Change]] = {}
    rows = EndpointHealthChange.objects.filter(at__gte=since, at__lt=until).order_by("-at")
    # Names, not ids: there may be thousands, and an id would be made an object for each.
    for name, url, state, at in rows.values_list("deployment__name", "url", "state", "at"):
        changes.setdefault((name, url), []).append(Change(at, _tone(state)))
    newest = rows.values_list("at", "deployment__name", "url", "state", "reason")
    told = [
        ToldChange(at, name, url, state, _tone(state), reason)
        for at, name, url, state, reason in newest[:MAX_CHANGES_TOLD]
    ]
    earlier = EndpointHealthChange.objects.filter(
        deployment=OuterRef("deployment"), url=OuterRef("url"), at__lt=since
    ).order_by("-at")
    endpoints = []
    for row in (
        EndpointHealth.objects.select_related("deployment")
        .annotate(state_before=Subquery(earlier.values("state")[:1]))
        .order_by("deployment__name", "url")
    ):
        own = changes.get((row.deployment.name, row.url), [])
        before = [Change(since, _tone(row.state_before))] * bool(row.state_before)
        endpoints.append(
            EndpointHistory(
                deployment=row.deployment.name,
                url=row.url,
                state=row.state,
                tone=health_tone(row.state),
                reason=row.reason,
                since=row.since,
                heard_at=row.heard_at,
                strip=strip([*before, *own], since, until, height=STRIP_HEIGHT),
                changes=len(own),
            )
        )
    return HealthHistory(endpoints, told)


def _tone(state: str) -> str:
    """Return the colour of a state in a strip, where one without has a colour too."""
    return health_tone(state) or "none"
