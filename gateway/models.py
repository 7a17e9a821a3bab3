"""The gateway's tables: history, leases, clients of the REST API, and what requests came to."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NoReturn

from django.db import models

from gateway.usage.latency import BUCKETS


class AppendOnly(Exception):
    """A row that can only be added was to be changed or deleted."""


class AppendOnlyQuerySet(models.QuerySet[Any]):
    """Refuses what would rewrite history; the database has triggers that refuse it too."""

    def update(self, **_: Any) -> NoReturn:
        raise AppendOnly(f"{self.model._meta.verbose_name_plural} are never changed.")

    def delete(self) -> NoReturn:
        raise AppendOnly(f"{self.model._meta.verbose_name_plural} are never deleted.")

    def bulk_update(self, *_: Any, **__: Any) -> NoReturn:
        self.update()


class AppendOnlyModel(models.Model):
    """A numbered row without gaps before it; numbers are given under the history's lock."""

    number = models.PositiveBigIntegerField(primary_key=True)
    created_at = models.DateTimeField(help_text="UTC.")
    author = models.CharField(max_length=150)
    origin = models.CharField(max_length=20, help_text="The way it came: web, rest, file, …")
    reason = models.CharField(max_length=500, blank=True)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        abstract = True
        ordering: ClassVar = ["number"]

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly(f"{self._meta.verbose_name} {self.pk} is never changed.")
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise AppendOnly(f"{self._meta.verbose_name} {self.pk} is never deleted.")


class Revision(AppendOnlyModel):
    """The whole configuration after a change, as its canonical document."""

    digest = models.CharField(max_length=32, db_index=True)
    document = models.JSONField(help_text="The canonical document; keys as fingerprints only.")

    class Meta(AppendOnlyModel.Meta):
        pass

    def __str__(self) -> str:
        return f"Revision {self.number}"


class AuditRecord(AppendOnlyModel):
    """One thing that was done, chained to the record before it by a hash."""

    source_address = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=128, blank=True)
    action = models.CharField(max_length=64, help_text="As in deployment.changed.")
    object_id = models.CharField(max_length=64, blank=True, help_text="A surrogate, never a name.")
    object_name = models.CharField(max_length=150, blank=True)
    changes = models.JSONField(default=dict, help_text="Field to [old, new]; no secrets.")
    revision = models.ForeignKey(Revision, models.PROTECT, null=True, related_name="audit_records")
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta(AppendOnlyModel.Meta):
        indexes: ClassVar = [models.Index(fields=["object_id"], name="gateway_audit_object")]

    def __str__(self) -> str:
        return f"{self.action} {self.object_name}".strip()


class LeaseQuerySet(models.QuerySet["Lease"]):
    def take(self, name: str, holder: str, *, lease_s: float, now: float) -> bool:
        """Take or renew a lease; returns whether `holder` has it now.

        Args:
            name: Of the job that only one may do.
            holder: Unique among all who might.
            lease_s: How long it is held unless it is renewed.
            now: Seconds since 1970, of the holder's clock.
        """
        ends_at = datetime.fromtimestamp(now + lease_s, UTC)
        is_free = models.Q(holder=holder) | models.Q(ends_at__lt=datetime.fromtimestamp(now, UTC))
        if self.filter(is_free, name=name).update(holder=holder, ends_at=ends_at):
            return True
        if self.filter(name=name).exists():
            return False
        _, is_created = self.get_or_create(
            name=name, defaults={"holder": holder, "ends_at": ends_at}
        )
        return is_created

    def give_up(self, name: str, holder: str) -> None:
        """End a lease early; one that another has by now stays."""
        self.filter(name=name, holder=holder).delete()


class Lease(models.Model):
    """Who does a job that only one worker of all may do, and until when."""

    name = models.CharField(max_length=64, primary_key=True)
    holder = models.CharField(max_length=128)
    ends_at = models.DateTimeField(help_text="UTC.")

    objects = LeaseQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self, now: datetime) -> "ApiTokenQuerySet":
        """Return the tokens that are neither revoked nor expired."""
        return self.filter(revoked_at=None, expires_at__gt=now)


class ApiToken(models.Model):
    """Lets a program call the REST API. The token itself is shown once and not stored."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100, unique=True, help_text="The history names it.")
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the token.")
    scopes = models.JSONField(default=list, help_text="What it permits.")
    created_at = models.DateTimeField(help_text="UTC.")
    expires_at = models.DateTimeField(help_text="UTC.")
    revoked_at = models.DateTimeField(null=True, help_text="UTC; empty: not revoked.")
    last_used_at = models.DateTimeField(null=True, help_text="UTC, to the minute.")

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class IdempotentAnswer(models.Model):
    """What a POST with an `Idempotency-Key` was answered, to be answered again."""

    id = models.BigAutoField(primary_key=True)
    client = models.CharField(max_length=150, help_text="Who sent it; a key is only theirs.")
    key = models.CharField(max_length=128)
    request_digest = models.CharField(max_length=64, help_text="Of path and body, keyed.")
    status = models.PositiveSmallIntegerField(default=0)
    body = models.JSONField(default=dict)
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_index=True, help_text="UTC.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["client", "key"], name="gateway_idempotency_key_once")
        ]

    def __str__(self) -> str:
        return f"{self.client}: {self.key}"


_A_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


class SliceLength(models.IntegerChoices):
    """Seconds that one row of usage spans; the finer, the sooner it is deleted."""

    FIVE_MINUTES = 300
    HOUR = 3600
    DAY = 86400
    WEEK = 604800

    def start_of(self, at: datetime) -> datetime:
        """Return when the slice that holds a time began; UTC, weeks on Mondays."""
        at = at.astimezone(UTC)
        return at - timedelta(seconds=(at - _A_MONDAY).total_seconds() % self)


class UsageSlice(models.Model):
    """What requests for one feature, answered by one deployment, came to in a slice of time.

    Beside the fields below it has counts of times in the buckets of `gateway.usage.latency`:
    `first_token_0`, … of those to the first text, `total_0`, … of whole answers.
    """

    FIRST_TOKEN: ClassVar = tuple(f"first_token_{number}" for number in range(BUCKETS))
    TOTAL: ClassVar = tuple(f"total_{number}" for number in range(BUCKETS))
    #: Whatever is added up.
    COUNTS: ClassVar = (
        *("answered", "refused", "failed", "cancelled", "unrecorded"),
        *("input_tokens", "output_tokens"),
        *FIRST_TOKEN,
        *TOTAL,
    )

    id = models.BigAutoField(primary_key=True)
    length_s = models.PositiveIntegerField(choices=SliceLength.choices)
    start = models.DateTimeField(help_text="UTC.")
    feature = models.CharField(max_length=40, blank=True, help_text="Empty: none was asked.")
    deployment = models.CharField(max_length=100, blank=True, help_text="Empty: none was asked.")
    answered = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(default=0, help_text="For what the caller did.")
    failed = models.PositiveBigIntegerField(default=0, help_text="For what we or a server did.")
    cancelled = models.PositiveBigIntegerField(default=0, help_text="The client left.")
    unrecorded = models.PositiveBigIntegerField(default=0, help_text="Requests nothing is known of")
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["start"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["length_s", "start", "feature", "deployment"], name="gateway_usage_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} {self.feature} {self.deployment}".strip()


for _name in (*UsageSlice.FIRST_TOKEN, *UsageSlice.TOTAL):
    UsageSlice.add_to_class(_name, models.PositiveBigIntegerField(default=0))


class LoggedRequest(models.Model):
    """One request: who answered, how it ended, what it took. Never what was said."""

    id = models.BigAutoField(primary_key=True)
    ended_at = models.DateTimeField(db_index=True, help_text="UTC.")
    request_id = models.CharField(max_length=128, db_index=True)
    route = models.CharField(max_length=100, help_text="Template of the URL.")
    status = models.PositiveSmallIntegerField(help_text="HTTP; 0: none was sent.")
    ending = models.CharField(max_length=10, help_text="As counted in slices: answered, …")
    outcome = models.CharField(max_length=64, help_text="ok, or a code.")
    hop = models.CharField(max_length=20, blank=True, help_text="Where the error came about.")
    reason = models.CharField(max_length=500, blank=True, help_text="What happened, what to do.")
    feature = models.CharField(max_length=40, blank=True)
    deployment = models.CharField(max_length=100, blank=True)
    attempts = models.PositiveSmallIntegerField(help_text="Requests sent to model servers.")
    prompt = models.CharField(max_length=150, blank=True, help_text="Name, variant and version.")
    prompt_digest = models.CharField(max_length=64, blank=True)
    configuration = models.CharField(max_length=32, blank=True, help_text="Digest of a revision.")
    user_hash = models.CharField(max_length=16, blank=True, help_text="Keyed with SECRET_KEY.")
    input_tokens = models.PositiveIntegerField(null=True)
    output_tokens = models.PositiveIntegerField(null=True)
    queued_ms = models.PositiveIntegerField()
    first_token_ms = models.PositiveIntegerField(null=True)
    total_ms = models.PositiveIntegerField()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["ending", "-id"], name="gateway_request_ending"),
            models.Index(fields=["feature", "-id"], name="gateway_request_feature"),
            models.Index(fields=["deployment", "-id"], name="gateway_request_deployment"),
            models.Index(fields=["user_hash", "-id"], name="gateway_request_user"),
        ]

    def __str__(self) -> str:
        return self.request_id
