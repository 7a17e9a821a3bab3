"""Checks of the database, the configuration in it, Redis, and Celery's workers."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from kombu.exceptions import OperationalError

from feature_config.catalogue import FEATURES, Feature, own_prompts
from gateway.configuration.history import newest_revision
from gateway.configuration.node import (
    FILE_NAME,
    ConfigurationNode,
    configuration_place_from_settings,
)
from gateway.configuration.sources import ConfigurationUnreadable
from gateway.configuration.stored import StoredConfiguration, read_configuration
from gateway.doctor import worker_sign
from gateway.doctor.findings import Told, failed, ok, skipped, warning
from gateway.doctor.patient import Patient
from gateway.operations.key_rotation import stored_secrets
from gateway.snapshot import ServingSnapshot, build_snapshot
from gateway.tasks import give_sign_of_life
from prompts.errors import ContextTooLong, PromptError
from prompts.loader import shipped_prompts
from prompts.registry import variants_for
from prompts.render import render
from prompts.samples import SAMPLES
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.secrets import SecretBox
from selfhosted_models.serving import ServingConfig

#: A copy of the configuration that was not confirmed for so long is told of.
OLD_COPY_S = 3600
_NO_DATABASE = "a gateway node has none"
_DATABASE_AWAY = "the database cannot be used"


def check_database(patient: Patient) -> Iterator[Told]:
    if patient.is_gateway_node:
        yield skipped("database", _NO_DATABASE)
        return
    if not patient.settings.IS_DATABASE_URL_KNOWN:
        yield skipped("database", "DATABASE_URL is wrong (see the settings above)")
        return
    host, settings = patient.stores().get("DATABASE_URL"), connection.settings_dict
    if host and not patient.addresses_of(host):
        yield failed("database", f"{host} does not resolve", _name_of("DATABASE_URL"))
        return
    file = Path(settings["NAME"])
    place = f"{host}:{settings['PORT'] or 5432}" if host else str(file)
    if connection.vendor == "sqlite" and file.is_absolute() and not file.exists():
        # To open it would make it.
        yield failed("database", f"{place} is not there", "Run: manage.py migrate")
        return
    patient.on_wait(f"the database at {place}")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError) as error:
        # Not the driver's own words: they may hold the user and the password.
        yield failed(
            "database",
            f"{connection.vendor} at {place}: {type(error).__name__}",
            "Start it, and check DATABASE_URL, its password and the firewall. Requests are served "
            "from what the workers hold meanwhile; pages answer 503.",
        )
        return
    patient.is_database_usable = True
    yield ok("database", f"{connection.vendor} at {place} answers")


def _name_of(setting: str) -> str:
    return f"Correct the name in {setting}, or add it to DNS or /etc/hosts."


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
    yield ok("migrations", "all are applied")


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
            told = f"{host} does not resolve"
            yield failed("configuration node", told, _name_of("SERVING_CONFIG_URL"))
        else:
            patient.on_wait("the configuration node")
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


def check_encryption(patient: Patient) -> Iterator[Told]:
    """Whether every stored key opens, and which of ENCRYPTION_KEYS are still needed."""
    if patient.configuration is None:
        yield skipped("keys of model servers", "the configuration is not known")
        return
    box = SecretBox(patient.settings.ENCRYPTION_KEYS)
    used: Counter[int] = Counter()
    stored = dict(_ciphertexts(patient, patient.configuration))
    for owner, ciphertext in stored.items():
        number = box.key_number_of(ciphertext)
        if number is None:
            yield failed(
                f"key of {owner}",
                "none of ENCRYPTION_KEYS opens it",
                "Restore the ENCRYPTION_KEYS it was saved with, or enter the key again.",
            )
        else:
            used[number] += 1
    if used:
        yield ok("keys of model servers", f"{used.total()} of {len(stored)} open")
    elif not stored:
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


def _ciphertexts(patient: Patient, configuration: StoredConfiguration) -> Iterator[tuple[str, str]]:
    """Yield every stored secret by the name of its owner; a gateway node has deployments alone."""
    if patient.is_database_usable:
        yield from ((secret.name, secret.ciphertext) for secret in stored_secrets())
        return
    for row in configuration.deployments:
        if row.has_api_key:
            yield row.name, row.api_key_ciphertext


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
        elif servings := [
            snapshot.deployments[name] for name in route.chosen if name in snapshot.deployments
        ]:
            answered.append(feature)
            yield from _too_small(snapshot, feature, servings)
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


def _too_small(
    snapshot: ServingSnapshot, feature: Feature, servings: Iterable[ServingConfig]
) -> Iterator[Told]:
    """Tell of deployments whose context does not even hold the prompt with a few samples."""
    for serving in servings:
        try:
            for prompt in own_prompts(feature):
                definition = snapshot.prompts.find(prompt, variants_for(serving.family, None))
                render(definition, SAMPLES, context_tokens=serving.context_tokens)
        except ContextTooLong as error:
            yield warning(
                f"{FEATURES[feature].title} on {serving.deployment}",
                f"a context of {serving.context_tokens:,} tokens leaves room for "
                f"{error.limit_tokens:,}, and the prompt alone takes {error.needed_tokens:,}",
                "Start the model server with a larger context window, measure it again (manage.py "
                f"probe {serving.deployment}), or choose another deployment.",
            )
        except PromptError:
            continue  # no prompt for this family: the live path tells it


# --- Redis ----------------------------------------------------------------------------------------


def check_redis(patient: Patient) -> Iterator[Told]:
    if not patient.settings.REDIS_URL:
        yield skipped("Redis", "REDIS_URL is not set: workers poll, and keep to their share")
        return
    host = patient.stores().get("REDIS_URL")
    place = host or "its socket"
    if host and not patient.addresses_of(host):
        yield failed("Redis", f"{host} does not resolve", _name_of("REDIS_URL"))
        return
    patient.on_wait(f"Redis at {place}")
    try:
        with worker_sign.store(patient.patience.redis_s) as client:
            client.ping()
    except (redis.RedisError, ValueError, OSError) as error:
        yield failed(
            "Redis",
            f"{place}: {type(error).__name__}",
            "Start it, or correct REDIS_URL. Requests are served meanwhile; each worker keeps to "
            "its own share of slots, and background work waits.",
        )
        return
    patient.is_redis_usable = True
    yield ok("Redis", f"{place} answers")


def check_worker(patient: Patient) -> Iterator[Told]:
    """Whether a Celery worker does what it is asked."""
    if not patient.settings.REDIS_URL:
        yield skipped("Celery worker", "without REDIS_URL the gateway works in a thread of its own")
        return
    if not patient.is_redis_usable:
        yield skipped("Celery worker", "Redis cannot be used")
        return
    number, within_s = worker_sign.new_number(), patient.patience.worker_s
    patient.on_wait(f"a Celery worker, {within_s} s at most")
    try:
        give_sign_of_life.apply_async((number,), retry=False, expires=within_s)
        is_alive = worker_sign.is_given(number, within_s=within_s)
    except (redis.RedisError, OperationalError, ValueError, OSError) as error:
        yield skipped("Celery worker", f"Redis went away ({type(error).__name__})")
        return
    if is_alive:
        yield ok("Celery worker", "did what it was asked")
    else:
        yield failed(
            "Celery worker",
            f"nothing was done within {within_s} s",
            "Start one: celery -A gateway worker --beat. If one runs, it is busy or hangs: see its "
            "log. Requests do not need it; evaluations wait.",
        )
