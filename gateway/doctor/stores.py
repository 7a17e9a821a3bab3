"""Checks of the database, the configuration in it, Redis, and Celery's workers."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from kombu.exceptions import OperationalError

from docsearch.signing import public_text
from feature_config.catalogue import FEATURES, Feature
from gateway.configuration.history import newest_revision
from gateway.configuration.node import (
    FILE_NAME,
    ConfigurationNode,
    configuration_place_from_settings,
)
from gateway.configuration.serving_exports import key_id_of, signing_key_from_settings
from gateway.configuration.sources import ConfigurationUnreadable
from gateway.configuration.stored import StoredConfiguration, read_configuration
from gateway.doctor import worker_sign
from gateway.doctor.findings import Told, failed, ok, skipped, warning
from gateway.doctor.patient import Patient
from gateway.snapshot import build_snapshot
from gateway.tasks import give_sign_of_life
from prompts.loader import shipped_prompts
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.secrets import SecretBox

#: A copy of the configuration that was not confirmed for so long is told of.
OLD_COPY_S = 3600
_WORKER_WITHIN_S = 10
_NO_DATABASE = "a gateway node has none"
_DATABASE_AWAY = "the database cannot be used"


def check_database(patient: Patient) -> Iterator[Told]:
    if patient.is_gateway_node:
        yield skipped("database", _NO_DATABASE)
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError) as error:
        # Not the driver's own words: they may hold the user and the password.
        yield failed(
            "database",
            f"{connection.vendor} at {_place(patient)}: {type(error).__name__}",
            "Start it, and check DATABASE_URL, its password and the firewall. Requests are served "
            "from what the workers hold meanwhile; pages answer 503.",
        )
        return
    patient.is_database_usable = True
    yield ok("database", f"{connection.vendor} at {_place(patient)} answers")


def _place(patient: Patient) -> str:
    settings = connection.settings_dict
    host = patient.stores().get("DATABASE_URL")
    return f"{host}:{settings.get('PORT') or 5432}" if host else str(settings["NAME"])


def check_migrations(patient: Patient) -> Iterator[Told]:
    if not patient.is_database_usable:
        yield skipped("migrations", _NO_DATABASE if patient.is_gateway_node else _DATABASE_AWAY)
        return
    executor = MigrationExecutor(connection)
    known = set(executor.loader.disk_migrations)
    ours = {app for app, _ in known}
    missing = [
        f"{migration.app_label}.{migration.name}"
        for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())
    ]
    if missing:
        patient.is_database_usable = False
        yield failed(
            "migrations",
            f"{len(missing)} not applied, the first is {missing[0]}",
            "Run: manage.py migrate",
        )
        return
    unknown = [
        f"{app}.{name}"
        for app, name in executor.loader.applied_migrations
        if app in ours and (app, name) not in known
    ]
    if unknown:
        yield warning(
            "migrations",
            f"the database is of a newer version: it has {sorted(unknown)[0]}",
            "Upgrade this node to the version of the others.",
        )
        return
    yield ok("migrations", f"all {len(executor.loader.applied_migrations)} are applied")


# --- The configuration ----------------------------------------------------------------------------


def check_configuration(patient: Patient) -> Iterator[Told]:
    if patient.is_gateway_node:
        yield from _check_configuration_node(patient)
    elif not patient.is_database_usable:
        yield skipped("configuration", _DATABASE_AWAY)
        return
    else:
        patient.configuration = configuration = read_configuration()
        newest = newest_revision()
        number = newest.number if newest else 0
        about = f"revision {number}, {len(configuration.deployments)} deployments"
        yield ok("configuration", about)
        key = signing_key_from_settings().public_key()
        name, public = key_id_of(key), public_text(key)
        told = f"key {name}; SERVING_CONFIG_TRUSTED_KEYS of gateway nodes: {public}"
        yield ok("signature of the serving configuration", told)
    if patient.configuration is not None:
        box = SecretBox(patient.settings.ENCRYPTION_KEYS)
        prompts = shipped_prompts().registry
        patient.snapshot = build_snapshot(patient.configuration, prompts, box)


def _check_configuration_node(patient: Patient) -> Iterator[Told]:
    place = configuration_place_from_settings()
    if place is None:
        return
    file = patient.settings.DATA_DIR / FILE_NAME
    host = place.endpoint.host

    async def ask(path: Path, thread: ThreadPoolExecutor) -> StoredConfiguration | None:
        door = OutboundDoor(patient.policy.trusting([host]))
        node = ConfigurationNode(place, door, path, thread)
        try:
            return await node.read()
        finally:
            await node.aclose()

    async def kept(thread: ThreadPoolExecutor) -> tuple[StoredConfiguration, float] | None:
        node = ConfigurationNode(place, OutboundDoor(patient.policy), file, thread)
        try:
            copy = await node.kept()
        finally:
            await node.aclose()
        return None if copy is None else (copy.configuration, copy.confirmed_at)

    with ThreadPoolExecutor(1) as thread, tempfile.TemporaryDirectory() as scratch:
        found = asyncio.run(kept(thread))
        if not patient.addresses_of(host):
            yield failed("configuration node", f"{host} does not resolve", _CHECK_NAME)
        else:
            try:
                patient.configuration = asyncio.run(ask(Path(scratch, FILE_NAME), thread))
            except ConfigurationUnreadable as error:
                yield failed("configuration node", str(error), "Served from the copy meanwhile.")
            else:
                yield ok("configuration node", f"{place.endpoint.url} answers, signature good")
    if found is None:
        yield warning(
            "copy of the configuration",
            f"{file} is not there, or cannot be used",
            "The gateway writes it once it runs and reaches the configuration node.",
        )
        return
    patient.configuration = patient.configuration or found[0]
    age_s = max(0, round(time.time() - found[1]))
    if age_s > OLD_COPY_S:
        remedy = "See the log of the gateway (configuration.unreadable)."
        yield warning("copy of the configuration", f"confirmed {age_s} s ago", remedy)
    else:
        yield ok("copy of the configuration", f"confirmed {age_s} s ago")


_CHECK_NAME = "Correct SERVING_CONFIG_URL, or the name in DNS or /etc/hosts."


def check_encryption(patient: Patient) -> Iterator[Told]:
    """Whether every stored key opens, and which of ENCRYPTION_KEYS are still needed."""
    if patient.configuration is None:
        yield skipped("keys of model servers", "the configuration is not known")
        return
    box = SecretBox(patient.settings.ENCRYPTION_KEYS)
    used: Counter[int] = Counter()
    rows = [row for row in patient.configuration.deployments if row.has_api_key]
    for row in rows:
        number = box.key_number_of(row.api_key_ciphertext)
        if number is None:
            yield failed(
                f"key of {row.name}",
                "none of ENCRYPTION_KEYS opens it",
                "Restore the ENCRYPTION_KEYS it was saved with, or enter the key again.",
            )
        else:
            used[number] += 1
    if used:
        yield ok("keys of model servers", f"{used.total()} of {len(rows)} open")
    elif not rows:
        yield ok("keys of model servers", "none is stored")
    for number in range(2, len(patient.settings.ENCRYPTION_KEYS) + 1):
        name = f"ENCRYPTION_KEYS, key {number}"
        if used[number]:
            yield warning(
                name,
                f"{used[number]} stored keys are still encrypted with it: do not retire it",
                "Run: manage.py rotate_keys",
            )
        else:
            yield ok(name, "no stored key needs it: it may be retired, if no backup does")


def check_features(patient: Patient) -> Iterator[Told]:
    """What would answer each feature."""
    if patient.snapshot is None:
        yield skipped("features", "the configuration is not known")
        return
    snapshot = patient.snapshot
    answered, inactive, unassigned = [], [], []
    for feature in Feature:
        route = snapshot.routes[feature]
        if route.is_inactive:
            inactive.append(feature)
        elif any(name in snapshot.deployments for name in route.chosen):
            answered.append(feature)
        elif route.chosen:
            yield failed(
                FEATURES[feature].title,
                f"none of its deployments can be used: {', '.join(route.chosen)}",
                f"Activate or repair one; `manage.py explain {feature}` says more.",
            )
        else:
            unassigned.append(feature)
    if unassigned:
        yield warning(
            "features",
            f"nothing is chosen for {len(unassigned)}: {', '.join(unassigned)}",
            "Choose a deployment, or Inactive; GitLab shows no button, or an error, until then.",
        )
    yield ok("features", f"{len(answered)} have a deployment, {len(inactive)} are inactive")


# --- Redis ----------------------------------------------------------------------------------------


def check_redis(patient: Patient) -> Iterator[Told]:
    if not patient.settings.REDIS_URL:
        yield skipped("Redis", "REDIS_URL is not set: workers poll, and keep to their share")
        return
    try:
        with worker_sign.store() as client:
            client.ping()
    except (redis.RedisError, ValueError, OSError) as error:
        yield failed(
            "Redis",
            f"{_redis_place(patient)}: {type(error).__name__}",
            "Start it, or correct REDIS_URL. Requests are served meanwhile; each worker keeps to "
            "its own share of slots, and background work waits.",
        )
        return
    yield ok("Redis", f"{_redis_place(patient)} answers")


def _redis_place(patient: Patient) -> str:
    return patient.stores().get("REDIS_URL", "its socket")


def check_worker(patient: Patient) -> Iterator[Told]:
    """Whether a Celery worker does what it is asked."""
    if not patient.settings.REDIS_URL:
        yield skipped("Celery worker", "without REDIS_URL the gateway works in a thread of its own")
        return
    number = worker_sign.new_number()
    try:
        give_sign_of_life.apply_async((number,), retry=False, expires=_WORKER_WITHIN_S)
        is_alive = worker_sign.is_given(number, within_s=_WORKER_WITHIN_S)
    except (redis.RedisError, OperationalError, ValueError, OSError) as error:
        yield skipped("Celery worker", f"Redis cannot be used ({type(error).__name__})")
        return
    if is_alive:
        yield ok("Celery worker", "did what it was asked")
    else:
        yield failed(
            "Celery worker",
            f"nothing was done within {_WORKER_WITHIN_S} s",
            "Start one: celery -A gateway worker --beat. If one runs, it is busy or hangs: see its "
            "log. Requests do not need it; evaluations wait.",
        )
