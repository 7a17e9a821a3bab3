"""Asking a model server, for pages and programs that must not wait for it: a row per question."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

from django.db import models

from selfhosted_models.background_runs import BackgroundRun, BackgroundRunQuerySet, RunState
from selfhosted_models.probing.results import AbilityResult, is_usable

#: Of the finished runs of a deployment, so many are kept; those of no deployment not so long.
KEPT_RUNS = 20


class ProbeKind(models.TextChoices):
    INSPECTION = "inspection", "What is behind a URL"
    CHECK = "check", "Does each endpoint work"
    MEASUREMENT = "measurement", "What the server can do"


class ProbeRunQuerySet(BackgroundRunQuerySet["ProbeRun"]):
    def measurements_since(self, since: datetime) -> "ProbeRunQuerySet":
        """Return the measurements asked for from then on, the newest first."""
        return self.filter(kind=ProbeKind.MEASUREMENT, created_at__gte=since).order_by("-pk")


class ProbeRun(BackgroundRun):
    """One question to a model server, and the findings so far.

    What is asked may not be stored yet: `draft` holds the fields of a deployment as a form had
    them, with its key as encrypted for that row, until the run is over.
    """

    kind = models.CharField(max_length=12, choices=ProbeKind)
    deployment = models.ForeignKey(
        "selfhosted_models.ModelDeployment",
        models.CASCADE,
        null=True,
        related_name="probe_runs",
        help_text="Empty: one that is not stored.",
    )
    draft = models.JSONField(
        default=dict, help_text="Fields as they were asked with, if not stored."
    )
    subject = models.CharField(max_length=32, blank=True, help_text="Digest of what is measured.")
    results = models.JSONField(default=list, help_text="The findings, in the order they came.")
    fingerprint = models.ForeignKey(
        "selfhosted_models.Fingerprint", models.SET_NULL, null=True, related_name="+"
    )

    objects = ProbeRunQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["subject", "-created_at"], name="selfhosted_models_probed_at")
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="selfhosted_models_proberun_state_known",
                condition=models.Q(state__in=RunState.values),
            ),
            models.CheckConstraint(
                name="selfhosted_models_proberun_kind_known",
                condition=models.Q(kind__in=ProbeKind.values),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def abilities(self) -> Iterator[AbilityResult]:
        """The findings of a measurement."""
        return map(AbilityResult.from_data, self.results)

    @property
    def is_usable(self) -> bool:
        """Whether a measurement found a server that answers."""
        return is_usable(self.abilities)

    def record(self, result: Mapping[str, Any]) -> None:
        """Add a finding; nothing if the run is not ours any more."""
        if self.renew_lease():
            self.results = [*self.results, dict(result)]
            self._held().update(results=self.results)

    def finish(self, state: RunState, reason: str = "") -> None:
        """End it; the key it was asked with is forgotten, unless a deployment may come of it."""
        super().finish(state, reason)
        if self.kind != ProbeKind.INSPECTION:
            self.forget_key()

    def forget_key(self) -> None:
        """Keep no key of a run that is over."""
        if self.is_over and self.draft.pop("api_key_ciphertext", ""):
            self.save(update_fields=["draft"])
