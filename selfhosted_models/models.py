"""The registry: which model servers the customer runs, and how to reach each."""

import math
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone

from selfhosted_models.endpoints import MAX_URL_CHARS, parse_line
from selfhosted_models.errors import EndpointRefused, SecretUnavailable
from selfhosted_models.families import FAMILIES, ModelFamily
from selfhosted_models.fields import EndpointsField
from selfhosted_models.probe_runs import ProbeRun as ProbeRun  # where Django looks for models
from selfhosted_models.probing.fingerprint import (
    FORMAT_VERSION,
    described,
    differences,
    digest_of,
    fingerprint_digest,
)
from selfhosted_models.probing.results import AbilityResult, Facts, Trait, facts_of, is_usable
from selfhosted_models.secrets import API_KEY_PATTERN, Secret, SecretBox
from selfhosted_models.serving import DEFAULT_MAX_IN_FLIGHT, ClockOverrides, ServingConfig
from selfhosted_models.serving_formats.registry import SERVING_FORMATS
from selfhosted_models.signals import deployment_cleaning, families_saved

MIN_KEY_CHARS_FOR_HINT = 20

_TIMEOUT_BOUNDS_S: dict[str, tuple[float, float]] = {
    "first_token_timeout_s": (1, 300),
    "idle_timeout_s": (2, 120),
    "total_timeout_s": (5, 900),
}


def family_choices() -> list[tuple[str, str]]:
    """Return the families as form choices; those off the supported list say so."""
    return [
        (
            family,
            facts.title + ("" if facts.is_on_supported_list else " - not on the supported list"),
        )
        for family, facts in FAMILIES.items()
    ]


def serving_format_choices() -> list[tuple[str, str]]:
    return [(key, serving_format.title) for key, serving_format in SERVING_FORMATS.items()]


def _timeout_field(name: str, help_text: str) -> Any:
    low, high = _TIMEOUT_BOUNDS_S[name]
    return models.FloatField(
        name.removesuffix("_s").replace("_", " ") + " (seconds)",
        null=True,
        blank=True,
        validators=[MinValueValidator(low), MaxValueValidator(high)],
        help_text=f"{help_text} {low:g} to {high:g}; empty: the default of the feature.",
    )


class ModelDeploymentQuerySet(models.QuerySet["ModelDeployment"]):
    def active(self) -> "ModelDeploymentQuerySet":
        return self.filter(is_active=True)

    def update(self, **kwargs: Any) -> int:
        """Update as Django does; a change of family is judged by whoever uses the deployments."""
        if "family" not in kwargs:
            return super().update(**kwargs)
        with transaction.atomic():
            deployment_ids = list(self.values_list("pk", flat=True))
            updated = super().update(**kwargs)
            families_saved.send(self.model, deployment_ids=deployment_ids)
        return updated


class ModelDeployment(models.Model):
    """One model, served at one or more endpoints that answer alike."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(
        max_length=100,
        unique=True,
        help_text="What admins call it, e.g. codegemma-gpu1.",
        validators=[
            RegexValidator(
                r"\A[A-Za-z0-9][A-Za-z0-9 ._:/()-]*\Z",
                "Begin with a letter or digit; then letters, digits, spaces and . _ : / ( ) -",
            )
        ],
        error_messages={"unique": "Another deployment has this name: choose a different one."},
    )
    family = models.CharField(
        "model family",
        max_length=40,
        choices=family_choices,
        help_text="The model line the server runs. It decides which prompts are used.",
    )
    serving_format = models.CharField(
        max_length=40,
        choices=serving_format_choices,
        help_text="How the server is spoken to. Base models for code completion need text.",
    )
    endpoints = EndpointsField(
        "endpoints",
        help_text=(
            "Base URLs, one a line, as in http://10.0.4.11:8000/v1. Requests go to the less loaded "
            "one; a larger server may be given more, as in http://10.0.4.12:8000/v1 weight=3."
        ),
    )
    model_identifier = models.CharField(
        max_length=255,
        validators=[
            RegexValidator(r"\A[\x21-\x7e]+\Z", "Visible ASCII characters only, and no spaces.")
        ],
        help_text="The name the server expects in requests; it lists its names at /models.",
    )
    api_key_ciphertext = models.TextField(blank=True, editable=False)
    api_key_hint = models.CharField(max_length=4, blank=True, editable=False)
    api_key_fingerprint = models.CharField(max_length=16, blank=True, editable=False)
    api_key_env = models.CharField(
        max_length=255,
        blank=True,
        editable=False,
        help_text="The environment variable a configuration file gave the key by.",
        validators=[
            RegexValidator(
                r"\A[A-Za-z_][A-Za-z0-9_]*\Z", "Not the name of an environment variable."
            )
        ],
    )
    api_key_file = models.CharField(
        max_length=4096,
        blank=True,
        editable=False,
        help_text="The file a configuration file gave the key by.",
        validators=[RegexValidator(r"\A[^\x00-\x1f\x7f]+\Z", "No control characters, please.")],
    )
    context_tokens = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(256), MaxValueValidator(10_000_000)],
        help_text="How many tokens the server takes, input and output together; empty: unknown.",
    )
    first_token_timeout_s = _timeout_field(
        "first_token_timeout_s", "Longest wait for the first token."
    )
    idle_timeout_s = _timeout_field("idle_timeout_s", "Longest silence within an answer.")
    total_timeout_s = _timeout_field("total_timeout_s", "Longest answer in all.")
    max_in_flight = models.PositiveIntegerField(
        "requests at once",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text=(
            "How many requests its endpoints take at once, all together; the others wait their "
            f"turn. 1 to 10,000; empty: {DEFAULT_MAX_IN_FLIGHT} for each endpoint."
        ),
    )
    is_active = models.BooleanField(
        "active", default=True, help_text="An inactive deployment answers nothing and stays listed."
    )
    file_digest = models.CharField(
        max_length=32,
        blank=True,
        editable=False,
        help_text="Digest of what the configuration file said of it; empty: not managed by file.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ModelDeploymentQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(Lower("name"), name="selfhosted_models_deployment_name_once"),
            models.CheckConstraint(
                name="selfhosted_models_deployment_name_given", condition=~models.Q(name="")
            ),
            models.CheckConstraint(
                name="selfhosted_models_deployment_identifier_given",
                condition=~models.Q(model_identifier=""),
            ),
            models.CheckConstraint(
                name="selfhosted_models_deployment_family_known",
                condition=models.Q(family__in=[family.value for family in ModelFamily]),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        # One transaction with the receivers, so that a rule of another app can still refuse the
        # change as a whole.
        with transaction.atomic():
            super().save(*args, **kwargs)
            families_saved.send(type(self), deployment_ids=[self.pk])

    def clean(self) -> None:
        """Check what spans fields: time-outs, a key that stays with its host, a fitting name."""
        found = {name: getattr(self, name) for name in _TIMEOUT_BOUNDS_S}
        times_s = {name: value for name, value in found.items() if isinstance(value, int | float)}
        errors = {name: "Enter a number." for name, value in times_s.items() if math.isnan(value)}
        if times_s.get("first_token_timeout_s", 0) > times_s.get("total_timeout_s", math.inf):
            errors["total_timeout_s"] = "Must not be shorter than the first token time-out."
        namesakes = type(self).objects.filter(name__iexact=self.name).exclude(pk=self.pk)
        other = namesakes.first()
        if other is not None and other.name != self.name:  # the same name is the field's own error
            errors["name"] = f"{other.name} differs by capital letters alone: choose another name."
        if self._would_send_key_elsewhere():
            errors["endpoints"] = (
                "The stored API key was entered for other hosts. Enter the key for the new ones, "
                "or remove it."
            )
        serving_format = SERVING_FORMATS.get(self.serving_format)
        if serving_format is not None and self.model_identifier:
            try:
                serving_format.check_model_identifier(self.model_identifier)
            except EndpointRefused as refusal:
                errors["model_identifier"] = refusal.safe_message
        if errors:
            raise ValidationError(errors)
        deployment_cleaning.send(type(self), deployment=self)

    def _would_send_key_elsewhere(self) -> bool:
        """Whether a kept key would go to a host it was not entered for."""
        if not self.api_key_ciphertext or not isinstance(self.endpoints, list):
            return False
        before = type(self).objects.filter(pk=self.pk, api_key_ciphertext=self.api_key_ciphertext)
        owner = before.first()
        return owner is not None and not self.may_use_key_of(owner)

    def may_use_key_of(self, owner: "ModelDeployment") -> bool:
        """Tell whether every endpoint is at a host that the key of `owner` was entered for."""
        try:
            known = {parse_line(url).origin for url in owner.endpoints}
            return all(parse_line(url).origin in known for url in self.endpoints)
        except (EndpointRefused, TypeError):  # the latter: an item that is no text
            return False

    @property
    def is_managed_by_file(self) -> bool:
        """Whether the configuration file that was applied last names it."""
        return bool(self.file_digest)

    @property
    def has_api_key(self) -> bool:
        return bool(self.api_key_ciphertext)

    @property
    def _secret_context(self) -> str:
        return f"selfhosted_models.modeldeployment.api_key:{self.pk}"

    def set_api_key(self, key: str) -> None:
        """Encrypt `key` for this row; it can be replaced or removed, never read back.

        Raises:
            ValidationError: It is empty or holds a character no header may carry.
        """
        key = key.strip()
        if not API_KEY_PATTERN.fullmatch(key):
            raise ValidationError(
                "An API key has 1 to 2,000 visible ASCII characters and no spaces.",
                code="api_key",
            )
        self.api_key_ciphertext = SecretBox(settings.ENCRYPTION_KEYS).encrypt(
            key, context=self._secret_context
        )
        self.api_key_hint = key[-4:] if len(key) >= MIN_KEY_CHARS_FOR_HINT else ""
        self.api_key_fingerprint = Secret(key).fingerprint(keyed_by=settings.SECRET_KEY)
        self.api_key_env = self.api_key_file = ""

    def remove_api_key(self) -> None:
        self.api_key_ciphertext = self.api_key_hint = self.api_key_fingerprint = ""
        self.api_key_env = self.api_key_file = ""

    def take_api_key(self, owner: "ModelDeployment", box: SecretBox) -> None:
        """Store the key of another row here too, still unread.

        Raises:
            SecretUnavailable: It cannot be decrypted.
        """
        key = owner.decrypt_api_key(box)
        if key is None:
            self.remove_api_key()
            return
        self.api_key_ciphertext = box.encrypt_again(key, context=self._secret_context)
        self.api_key_hint = owner.api_key_hint
        self.api_key_fingerprint = owner.api_key_fingerprint
        self.api_key_env = self.api_key_file = ""

    def holds_api_key(self, key: str, box: SecretBox) -> bool:
        """Tell whether `key` is the stored one; one that cannot be decrypted is not."""
        try:
            stored = self.decrypt_api_key(box)
        except SecretUnavailable:
            return False
        return stored is not None and stored.equals(key)

    def decrypt_api_key(self, box: SecretBox) -> Secret | None:
        """Return the key, None if there is none.

        Raises:
            SecretUnavailable: It cannot be decrypted.
        """
        if not self.api_key_ciphertext:
            return None
        return box.decrypt(self.api_key_ciphertext, context=self._secret_context)

    @property
    def measured_subject(self) -> str:
        """What a fingerprint is of: another server, model or way to ask is another subject.

        Of several endpoints, which answer alike, the first is measured.

        Raises:
            EndpointRefused: It is not a URL.
        """
        url = parse_line(self.endpoints[0]).url
        return digest_of([self.family, self.serving_format, url, self.model_identifier])

    @property
    def newest_fingerprint(self) -> "Fingerprint | None":
        """What was measured last of this very subject; reads the database."""
        return self.fingerprints.filter(subject=self.measured_subject).first()

    def to_serving_config(
        self, box: SecretBox, fingerprint: "Fingerprint | None" = None
    ) -> ServingConfig:
        """Return what requests need to know.

        Args:
            box: Opens the API key.
            fingerprint: What was measured last; it says what the admin has not.

        Raises:
            SecretUnavailable: The API key cannot be decrypted.
            EndpointRefused: A row that no form has checked: an endpoint is not a URL, the serving
                format is not known or has no such model identifiers.
        """
        if self.serving_format not in SERVING_FORMATS or not self.endpoints:
            raise EndpointRefused("The row has no endpoint, or a serving format that is unknown.")
        SERVING_FORMATS[self.serving_format].check_model_identifier(self.model_identifier)
        family = ModelFamily(self.family)
        facts = self._facts_in(fingerprint)
        return ServingConfig(
            deployment=self.name,
            family=family,
            serving_format=self.serving_format,
            endpoints=tuple(parse_line(url) for url in self.endpoints),
            model_identifier=self.model_identifier,
            api_key=self.decrypt_api_key(box),
            context_tokens=self.context_tokens or facts.get(Trait.CONTEXT),
            max_in_flight=self.max_in_flight or DEFAULT_MAX_IN_FLIGHT * len(self.endpoints),
            has_system_role=bool(facts.get(Trait.SYSTEM_ROLE, FAMILIES[family].has_system_role)),
            reports_stream_usage=bool(facts.get(Trait.STREAM_USAGE, True)),
            fills_in_middle=bool(facts.get(Trait.NATIVE_FILL_IN_MIDDLE, False)),
            honours_stop=bool(facts.get(Trait.STOP_SEQUENCES, True)),
            clock_overrides=ClockOverrides(
                first_token_s=self.first_token_timeout_s,
                idle_s=self.idle_timeout_s,
                total_s=self.total_timeout_s,
            ),
        )

    def _facts_in(self, fingerprint: "Fingerprint | None") -> Facts:
        if fingerprint is None or fingerprint.subject != self.measured_subject:
            return {}
        facts: Facts = fingerprint.facts
        return facts


class EndpointHealth(models.Model):
    """The newest news of an endpoint, from whichever worker heard of it last."""

    deployment = models.ForeignKey(ModelDeployment, models.CASCADE, related_name="endpoint_health")
    url = models.CharField(max_length=MAX_URL_CHARS)
    state = models.CharField(max_length=20, help_text="starting, healthy, degraded or down.")
    reason = models.TextField(blank=True, help_text="What happened and what to do.")
    since = models.DateTimeField(help_text="When it came into this state. UTC.")
    heard_at = models.DateTimeField(help_text="When it last said anything. UTC.")

    class Meta:
        ordering: ClassVar = ["deployment", "url"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["deployment", "url"], name="selfhosted_models_endpointhealth_one_each"
            )
        ]

    def __str__(self) -> str:
        return f"{self.url}: {self.state}"


class EndpointHealthChange(models.Model):
    """A change of an endpoint's health; the newest few are kept."""

    deployment = models.ForeignKey(
        ModelDeployment, models.CASCADE, related_name="endpoint_health_changes"
    )
    url = models.CharField(max_length=MAX_URL_CHARS)
    state = models.CharField(max_length=20)
    reason = models.TextField(blank=True)
    at = models.DateTimeField(help_text="UTC.")

    class Meta:
        ordering: ClassVar = ["-at"]
        indexes: ClassVar = [
            models.Index(fields=["deployment", "url", "-at"], name="selfhosted_models_health_at")
        ]

    def __str__(self) -> str:
        return f"{self.url} became {self.state}"


class DeploymentLoad(models.Model):
    """What one worker has under way at a deployment, while it has anything."""

    deployment = models.ForeignKey(ModelDeployment, models.CASCADE, related_name="load")
    worker = models.CharField(max_length=128)
    in_flight = models.PositiveIntegerField(help_text="Requests the servers work on.")
    slots = models.PositiveIntegerField(help_text="So many it may have in flight.")
    waiting = models.JSONField(help_text="Requests waiting for a slot, by lane.")
    told_at = models.DateTimeField(help_text="UTC.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["deployment", "worker"], name="selfhosted_models_load_one_each"
            )
        ]

    def __str__(self) -> str:
        return f"{self.in_flight} at {self.deployment} by {self.worker}"


class FingerprintQuerySet(models.QuerySet["Fingerprint"]):
    def newest(self) -> "FingerprintQuerySet":
        """Return the last measured one of each deployment."""
        same = Fingerprint.objects.filter(deployment=models.OuterRef("deployment"))
        return self.filter(pk=models.Subquery(same.values("pk")[:1]))

    def by_deployment(self) -> dict[uuid.UUID, "Fingerprint"]:
        """Return them by the id of their deployment, in one query."""
        return {fingerprint.deployment_id: fingerprint for fingerprint in self}

    def drifted(self) -> "FingerprintQuerySet":
        """Return those at which a server was found changed, the newest first."""
        return self.exclude(differences={}).order_by("-created_at", "-pk")

    def record(
        self,
        deployment: ModelDeployment,
        results: Sequence[AbilityResult],
        *,
        at: datetime | None = None,
    ) -> "Fingerprint | None":
        """Store what was measured of `deployment`, as it was when it was asked.

        What could not be measured this time keeps the value known before. Nothing is stored, and
        None returned, where the server gave no answer at all or the deployment is gone.
        """
        if not is_usable(results):
            return None
        at = at or timezone.now()
        told = [asdict(result) for result in results]
        with transaction.atomic():
            row = ModelDeployment.objects.select_for_update().filter(pk=deployment.pk).first()
            if row is None:
                return None
            subject = deployment.measured_subject
            last = deployment.fingerprints.filter(
                subject=subject, format_version=FORMAT_VERSION
            ).first()
            facts = {**(last.facts if last else {}), **facts_of(results)}
            digest = fingerprint_digest(facts)
            if last is not None and last.digest == digest:
                last.results, last.measured_at = told, at
                last.save(update_fields=["results", "measured_at"])
                return last
            return self.create(
                deployment=deployment,
                subject=subject,
                digest=digest,
                facts=facts,
                results=told,
                differences=differences(last.facts, facts) if last else {},
                created_at=at,
                measured_at=at,
            )


class Fingerprint(models.Model):
    """What the server of a deployment was measured to be, from when to when.

    A measurement that finds the same only moves `measured_at` on, so each row is a change: the
    table is the history of the server.
    """

    deployment = models.ForeignKey(
        ModelDeployment, models.CASCADE, related_name="fingerprints", editable=False
    )
    subject = models.CharField(
        max_length=32, editable=False, help_text="Digest of what was measured."
    )
    digest = models.CharField(max_length=32, editable=False, help_text="Of the facts.")
    facts = models.JSONField(editable=False, help_text="What is stable, by trait.")
    results = models.JSONField(editable=False, help_text="Every finding, as it was told.")
    differences = models.JSONField(
        default=dict, editable=False, help_text="By trait, before and after; empty: no drift."
    )
    format_version = models.PositiveSmallIntegerField(default=FORMAT_VERSION, editable=False)
    created_at = models.DateTimeField(editable=False, help_text="When it was found first.")
    measured_at = models.DateTimeField(editable=False, help_text="When it was found last.")

    objects = FingerprintQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-measured_at", "-pk"]
        indexes: ClassVar = [
            models.Index(
                fields=["deployment", "-measured_at"], name="selfhosted_models_measured_at"
            )
        ]

    def __str__(self) -> str:
        return f"{self.deployment} at {self.measured_at:%Y-%m-%d %H:%M}"

    @property
    def has_drifted(self) -> bool:
        return bool(self.differences)

    @property
    def drift(self) -> str:
        """What changed, in a sentence; "" where nothing did."""
        return described(self.differences)
