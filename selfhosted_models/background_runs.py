"""Work that is carried out beside the requests, as rows: who does it, how far it is, cancelling it.

A run is carried out by whoever holds its lease, and cancelled by its state: both are columns, so
that any process can.
"""

from datetime import timedelta
from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

#: Whoever carries a run out says so again and again; after so long in silence, it has died.
LEASE_S = 30.0
#: How often a run is taken up in all: one that kills its workers must come to an end.
MAX_ATTEMPTS = 5


class RunState(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self not in {RunState.QUEUED, RunState.RUNNING}


_UNDER_WAY = Q(state__in=[RunState.QUEUED, RunState.RUNNING])
R = TypeVar("R", bound="BackgroundRun")


class BackgroundRunQuerySet(models.QuerySet[R]):
    def unfinished(self) -> Self:
        return self.exclude(state=RunState.FINISHED)

    def under_way(self) -> Self:
        """Return those that are queued or running."""
        return self.filter(_UNDER_WAY)

    def abandoned(self) -> Self:
        """Return those that should be under way in the background, and that nobody carries out."""
        return self.under_way().filter(is_background=True, lease_until__lt=timezone.now())

    def cancel(self) -> int:
        """Cancel those that are not over; whoever carries one out notices within a second."""
        return self.under_way().update(state=RunState.CANCELLED, finished_at=timezone.now())


class BackgroundRun(models.Model):
    """One piece of work, from being asked for to its end."""

    state = models.CharField(max_length=10, choices=RunState, default=RunState.QUEUED)
    reason = models.CharField(max_length=500, blank=True, help_text="Why it failed.")
    started_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    is_background = models.BooleanField(default=False, help_text="A worker carries it out.")
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_holder = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True

    @property
    def is_stalled(self) -> bool:
        """Whether whoever carried it out has died."""
        return self.state == RunState.RUNNING and self.lease_until < timezone.now()

    @property
    def is_over(self) -> bool:
        return RunState(self.state).is_over

    def take_up(self, holder: str) -> bool:
        """Become the one who carries it out; False if it is over, or somebody else is.

        Args:
            holder: Made for this one attempt.
        """
        now = timezone.now()
        free = Q(state=RunState.QUEUED) | Q(state=RunState.RUNNING, lease_until__lt=now)
        taken = (
            type(self)
            ._default_manager.filter(free, pk=self.pk)
            .update(
                state=RunState.RUNNING,
                started_at=Coalesce("started_at", now),
                attempts=F("attempts") + 1,
                lease_holder=holder,
                lease_until=now + timedelta(seconds=LEASE_S),
            )
        )
        self.refresh_from_db()
        return bool(taken)

    def renew_lease(self) -> bool:
        """Say that it is still carried out; False if it is not ours any more, or was cancelled."""
        until = timezone.now() + timedelta(seconds=LEASE_S)
        return bool(self._held().update(lease_until=until))

    def finish(self, state: RunState, reason: str = "") -> None:
        """End it, unless it was cancelled or taken over meanwhile."""
        self._held().update(state=state, reason=reason[:500], finished_at=timezone.now())
        self.refresh_from_db()

    def _held(self) -> Any:
        return type(self)._default_manager.filter(
            pk=self.pk, state=RunState.RUNNING, lease_holder=self.lease_holder
        )
