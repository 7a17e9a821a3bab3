"""Between the stored rows and the document: both are read from, and written to, here alone."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from django.db import connection

from feature_config.catalogue import Feature
from feature_config.models import FeatureSetting
from feature_config.resolution import FeatureRoute
from gateway.configuration.document import (
    Choice,
    DeploymentEntry,
    Document,
    KeyReference,
    Timeouts,
    digest_of,
)
from selfhosted_models.models import Fingerprint, ModelDeployment


@dataclass(frozen=True, slots=True)
class StoredConfiguration:
    """The rows of the configuration, read together.

    Attributes:
        deployments: All of them, by name.
        routes: Every feature of the catalogue.
        fingerprints: What was measured last, by the id of the deployment.
    """

    deployments: tuple[ModelDeployment, ...]
    routes: Mapping[Feature, FeatureRoute]
    fingerprints: Mapping[UUID, Fingerprint] = field(default_factory=dict)

    def document(self) -> Document:
        """Return the rows as a document; rows that no form has checked are taken as they are."""
        return Document(
            deployments=tuple(map(entry_of, self.deployments)),
            features={
                feature: Choice(route.chosen, route.is_inactive, route.prompt_version)
                for feature, route in self.routes.items()
            },
        )

    def rows_digest(self) -> str:
        """Return a digest of the document, of the keys as encrypted and of what was measured."""
        keys = [[row.pk, row.api_key_ciphertext] for row in self.deployments]
        measured = [[row.pk, row.digest] for row in self.fingerprints.values()]
        return digest_of([self.document().to_data(), keys, measured])


#: Transactions whose queries all see what was there when the first began, and that hold no lock.
_BEGIN = {
    "sqlite": "BEGIN DEFERRED",
    "postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
}


def read_configuration() -> StoredConfiguration:
    """Read the configuration from the database, as it is at one moment; blocks.

    Otherwise a feature could name a deployment that a change has taken away in between.
    """
    with _at_one_moment():
        settings = FeatureSetting.objects.prefetch_related("choices__deployment")
        choices = {Feature(setting.feature): choice_of(setting) for setting in settings}
        return StoredConfiguration(
            deployments=tuple(ModelDeployment.objects.order_by("name")),
            routes={
                feature: FeatureRoute(
                    feature, choice.deployments, choice.is_inactive, choice.prompt_version
                )
                for feature in Feature
                for choice in [choices.get(feature, Choice())]
            },
            fingerprints=Fingerprint.objects.newest().by_deployment(),
        )


@contextmanager
def _at_one_moment() -> Iterator[None]:
    """Begin a transaction for reading, unless the caller is in one, who then sees to it."""
    if connection.in_atomic_block:
        yield
        return
    # Not `atomic`, which on SQLite would wait for its turn among those who write.
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN[connection.vendor])
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


def entry_of(row: ModelDeployment) -> DeploymentEntry:
    key = KeyReference(env=row.api_key_env, file=row.api_key_file, stored=row.api_key_fingerprint)
    urls = row.endpoints
    return DeploymentEntry(
        name=row.name,
        family=str(row.family),
        serving_format=row.serving_format,
        endpoints=tuple(urls) if isinstance(urls, list) else (urls,),
        model_identifier=row.model_identifier,
        api_key=key if row.has_api_key else None,
        context_tokens=row.context_tokens,
        timeouts=Timeouts(
            first_token_s=row.first_token_timeout_s,
            idle_s=row.idle_timeout_s,
            total_s=row.total_timeout_s,
        ),
        max_in_flight=row.max_in_flight,
        is_active=row.is_active,
    )


def fill_row(row: ModelDeployment, entry: DeploymentEntry) -> None:
    """Write all of `entry` to an unsaved row, except its key."""
    row.name = entry.name
    row.family = entry.family
    row.serving_format = entry.serving_format
    row.endpoints = list(entry.endpoints)
    row.model_identifier = entry.model_identifier
    row.context_tokens = entry.context_tokens
    row.first_token_timeout_s = entry.timeouts.first_token_s
    row.idle_timeout_s = entry.timeouts.idle_s
    row.total_timeout_s = entry.timeouts.total_s
    row.max_in_flight = entry.max_in_flight
    row.is_active = entry.is_active


def choice_of(setting: FeatureSetting) -> Choice:
    names = tuple(choice.deployment.name for choice in setting.choices.all())
    return Choice(() if setting.is_inactive else names, setting.is_inactive, setting.prompt_version)
