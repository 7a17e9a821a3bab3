"""What a worker holds while it lives: snapshot, keys, the outbound door, and their upkeep."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog
from django.conf import settings

from docsearch.store import IndexStore
from gateway.authentication import keyfiles
from gateway.authentication.trust import Trust
from gateway.authentication.trusted_keys import (
    IssuerSource,
    OwnKeys,
    issuer_sources,
    load_own_keys,
)
from gateway.configuration.change_hints import listen_for_changes
from gateway.configuration.node import (
    FILE_NAME,
    ConfigurationNode,
    ConfigurationPlace,
    configuration_place_from_settings,
)
from gateway.configuration.sources import (
    ConfigurationSource,
    ConfigurationUnreadable,
    DatabaseConfiguration,
)
from gateway.configuration.stored import StoredConfiguration
from gateway.documentation.engine import DocsEnginePlace, EngineAccess, docs_engine_from_settings
from gateway.documentation.engine_upkeep import LOAD_EVERY_S, EngineUpkeep
from gateway.documentation.indexes import note_installed, record_look
from gateway.documentation.local import local_backend
from gateway.documentation.questions import (
    CHECK_EVERY_S,
    WRITE_EVERY_S,
    UnansweredLog,
    check_changed,
)
from gateway.documentation.registry import DocsRegistryPlace, docs_registry_from_settings
from gateway.documentation.search import DocsSearch
from gateway.documentation.upkeep import READ_REQUESTS_EVERY_S, CheckRequests, DocsUpkeep
from gateway.feature_flags import DisallowedFlags, read_disallowed_flags
from gateway.logs import tell_configuration
from gateway.metrics import Sampler
from gateway.model_metadata import ModelMetadataPolicy, model_metadata_policy
from gateway.own_listeners import Place, named_places, resolve_places
from gateway.probes.endpoint_news import OwnNews, exchange_news
from gateway.probes.endpoint_probing import PROBE_CLOCKS, Prober
from gateway.redis_address import redis_url_from_settings
from gateway.routing.errors import ServerStopping
from gateway.routing.fleet import Fleet
from gateway.routing.leases import SlotLeases
from gateway.routing.limits import Limits
from gateway.routing.quotas import Quotas
from gateway.snapshot import ServingSnapshot, build_snapshot, empty_snapshot
from gateway.upkeep import Step, database_step, in_thread_with_database, keep_running
from gateway.usage.buffer import UsageBuffer
from gateway.usage.writer import UsageWriter
from prompts.loader import shipped_prompts
from selfhosted_models.endpoints import UrlPolicy
from selfhosted_models.errors import SettingInvalid
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.probing.check import check_answer, check_endpoint
from selfhosted_models.secrets import SecretBox

log = structlog.get_logger(__name__)

#: A reason why the configuration cannot be read is logged again after so long.
TOLD_AGAIN_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """The settings a worker reads, once."""

    service_name: str
    model_metadata: ModelMetadataPolicy
    issuers: tuple[IssuerSource, ...]
    url_policy: UrlPolicy
    own_keys: OwnKeys
    encryption_keys: tuple[str, ...]
    configuration_poll_s: float
    data_dir: Path
    disallowed_flags: DisallowedFlags
    database_url: str = ""
    redis_url: str = ""
    limits: Limits = Limits()
    disable_streaming: bool = False
    drain_s: float = 25.0
    gitlab_version: str = ""
    docs_registry: DocsRegistryPlace | None = None
    docs_engine: DocsEnginePlace | None = None
    docs_hybrid: bool = False
    docs_unanswered_questions: int = 0
    configuration_place: ConfigurationPlace | None = None
    probe_silent_s: float = 30.0

    @property
    def own_urls(self) -> tuple[str, str, str]:
        """What we reach ourselves, and no model server is: never dialled as one."""
        place = self.configuration_place
        return self.database_url, self.redis_url, place.endpoint.url if place else ""


def runtime_settings() -> RuntimeSettings:
    """Read Django's settings; what can be wrong with them is found earlier, by the checks."""
    return RuntimeSettings(
        service_name=settings.CLOUD_CONNECTOR_SERVICE_NAME,
        model_metadata=model_metadata_policy(settings.GATEWAY_MODEL_METADATA),
        issuers=issuer_sources(settings.AIGW_GITLAB_URL, settings.GATEWAY_TRUSTED_ISSUERS),
        url_policy=UrlPolicy(settings.UPSTREAM_ALLOWED_CIDRS, settings.UPSTREAM_ALLOWED_HOSTS),
        own_keys=own_keys_from_settings(),
        encryption_keys=tuple(settings.ENCRYPTION_KEYS),
        configuration_poll_s=settings.CONFIGURATION_POLL_S,
        data_dir=settings.DATA_DIR,
        disallowed_flags=read_disallowed_flags(settings.AIGW_FEATURE_FLAGS__DISALLOWED_FLAGS),
        database_url=settings.DATABASE_URL,
        redis_url=redis_url_from_settings(),
        disable_streaming=settings.AIGW_CUSTOM_MODELS__DISABLE_STREAMING,
        drain_s=settings.DRAIN_S,
        gitlab_version=settings.GITLAB_VERSION,
        docs_registry=docs_registry_from_settings(),
        docs_engine=docs_engine_from_settings(),
        docs_hybrid=bool(settings.DOCS_HYBRID),
        docs_unanswered_questions=settings.DOCS_UNANSWERED_QUESTIONS,
        configuration_place=configuration_place_from_settings(),
        probe_silent_s=settings.PROBE_SILENT_S,
        limits=Limits(
            workers=settings.GATEWAY_WORKERS,
            worker_in_flight=settings.WORKER_MAX_IN_FLIGHT,
            user_in_flight=settings.USER_MAX_IN_FLIGHT,
            user_per_minute=settings.USER_REQUESTS_PER_MINUTE,
            queue_size=settings.QUEUE_SIZE,
            queue_wait_s=settings.QUEUE_MAX_WAIT_S,
            breaker_failures=settings.BREAKER_FAILURES,
        ),
    )


def own_keys_from_settings() -> OwnKeys:
    """Return the keys for tokens of our own, made once into DATA_DIR if none is given.

    Raises:
        SettingInvalid: A key is none, or DATA_DIR cannot hold one.
    """
    path = own_signing_key_path()
    try:
        signing = settings.AIGW_SELF_SIGNED_JWT__SIGNING_KEY or keyfiles.read_or_create(
            path, keyfiles.make_signing_key
        )
    except (OSError, UnicodeError) as error:
        raise SettingInvalid(
            f"DATA_DIR: {path} cannot be used ({type(error).__name__}).",
            "Set DATA_DIR to a folder this user may write; all that is in it belongs to the user "
            "that the gateway runs as.",
        ) from error
    return load_own_keys(signing, settings.AIGW_SELF_SIGNED_JWT__VALIDATION_KEY)


def own_signing_key_path() -> Path:
    """Return where the key is kept that signs tokens where no setting gives one."""
    return Path(settings.DATA_DIR) / "signing_key.pem"


def configuration_source(options: RuntimeSettings, thread: Executor) -> ConfigurationSource:
    """Return where the configuration comes from: the database, or the configuration node."""
    place = options.configuration_place
    if place is None:
        return DatabaseConfiguration(thread)
    # A URL given in the environment skips the allow-list, never the deny-list.
    door = OutboundDoor(options.url_policy.trusting([place.endpoint.host]))
    return ConfigurationNode(place, door, options.data_dir / FILE_NAME, thread)


def restored_trust(options: RuntimeSettings, policy: UrlPolicy) -> Trust:
    """Return what the settings trust, with what is kept of it on disk; blocks."""
    return Trust.restore(
        issuers=options.issuers,
        own_keys=options.own_keys,
        service_name=options.service_name,
        data_dir=options.data_dir,
        policy=policy,
    )


@dataclass(slots=True)
class Runtime:
    """Made in the worker's event loop by `start`; requests read its attributes.

    Attributes:
        snapshot: Replaced whole when the configuration changes.
        fleet: The model servers, and the door to them.
        is_draining: Whether the worker is being stopped: it is not ready any more.
        trust: Who is believed.
        quotas: What users, and this worker, may have under way.
        docs: The documentation search.
        usage: Takes requests that ended, to be written down; None on a node that keeps no records.
        source: Where the configuration is read.
        confirmed_at: When the configuration was last known to be the newest; seconds since 1970.
    """

    options: RuntimeSettings
    snapshot: ServingSnapshot
    fleet: Fleet
    quotas: Quotas
    docs: DocsSearch
    trust: Trust
    now: Callable[[], float] = time.time
    leases: SlotLeases | None = None
    docs_upkeep: DocsUpkeep | None = None
    docs_engine: EngineAccess | None = None
    usage: UsageBuffer | None = None
    is_draining: bool = False
    _usage_writer: UsageWriter | None = None
    source: ConfigurationSource | None = None
    confirmed_at: float | None = None
    _told: tuple[str, float] = ("", 0.0)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _questions_thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "documentation questions")
    )
    #: A thread of its own: name look-ups may fill the loop's default pool when DNS is away.
    _configuration_thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "configuration")
    )

    @classmethod
    async def start(
        cls,
        options: RuntimeSettings,
        listens_on: Iterable[Place] = (),
        further_upkeep: Iterable[tuple[str, Step]] = (),
    ) -> "Runtime":
        """Return a runtime that serves, with the configuration read once if that is possible.

        Args:
            options: What the settings say.
            listens_on: Address and port of each socket of this worker.
            further_upkeep: Name and step of what else goes on while it lives.
        """
        place = options.configuration_place
        own = named_places(options.own_urls)
        policy = options.url_policy.sparing(await resolve_places([*own, *listens_on]))
        prompts = shipped_prompts().registry
        trust = restored_trust(options, policy)
        docs_store = IndexStore.below(options.data_dir)
        engine = EngineAccess(options.docs_engine, policy) if options.docs_engine else None
        backend = (
            engine.backend if engine else local_backend(docs_store, is_hybrid=options.docs_hybrid)
        )
        unanswered = UnansweredLog(options.docs_unanswered_questions)
        fleet = Fleet(
            OutboundDoor(policy),
            options.limits,
            asks_for_streams=not options.disable_streaming,
            is_leasing=bool(options.redis_url),
        )
        runtime = cls(
            options=options,
            snapshot=empty_snapshot(prompts),
            fleet=fleet,
            quotas=Quotas(options.limits, time.monotonic),
            docs=DocsSearch(
                backend,
                options.gitlab_version,
                *([unanswered.note] if options.docs_unanswered_questions and not place else []),
            ),
            trust=trust,
            docs_engine=engine,
        )
        runtime.source = configuration_source(options, runtime._configuration_thread)
        await runtime.take_kept_configuration()
        await runtime.refresh_snapshot()
        if options.redis_url:
            runtime.leases = leases = SlotLeases(options.redis_url, fleet)
            await leases.renew()
            leasing = keep_running("slot leases", leases.renew_when_due)
            runtime._tasks.append(asyncio.create_task(leasing))
        prober = Prober(
            fleet,
            lambda: runtime.snapshot.deployments.values(),
            partial(check_endpoint, fleet.door, clocks=PROBE_CLOCKS),
            partial(check_answer, fleet.door, clocks=PROBE_CLOCKS),
            options.probe_silent_s,
            runtime._configuration_thread,
            OwnNews().exchange if place else exchange_news,
        )
        runtime._tasks.append(asyncio.create_task(keep_running("endpoint health", prober.round)))
        sampler = Sampler(fleet, runtime.quotas, runtime.configuration_age_s)
        runtime._tasks.append(asyncio.create_task(keep_running("metrics", sampler.sample)))
        if options.docs_registry:
            runtime.docs_upkeep = DocsUpkeep(
                options.docs_registry,
                docs_store,
                runtime.docs.wanted_versions,
                policy,
                *([] if place else [in_thread_with_database(record_look)]),
            )
            reconciling = keep_running("documentation", runtime.docs_upkeep.follow)
            runtime._tasks.append(asyncio.create_task(reconciling))
            if place is None:
                requests = CheckRequests(runtime.docs_upkeep.look_now)
                reading = database_step(
                    runtime._configuration_thread, requests.read, READ_REQUESTS_EVERY_S
                )
                waking = keep_running("documentation checks", reading)
                runtime._tasks.append(asyncio.create_task(waking))
        if place is None:
            runtime._record_usage()
        for upkeep in (trust.issuer_keys, trust.deny_list):
            runtime._tasks.append(asyncio.create_task(upkeep.keep_fresh()))
        runtime._tasks.append(asyncio.create_task(runtime._keep_snapshot_fresh()))
        if engine and place is None:
            loading = EngineUpkeep(docs_store, engine.loader).load_newer
            step = database_step(engine.thread, loading, LOAD_EVERY_S)
            runtime._tasks.append(asyncio.create_task(keep_running("search engine", step)))
        thread = runtime._questions_thread
        stored_upkeep = (
            ("indexes", database_step(thread, partial(note_installed, docs_store), CHECK_EVERY_S)),
            (
                "golden questions",
                database_step(thread, partial(check_changed, backend), CHECK_EVERY_S),
            ),
            ("unanswered questions", database_step(thread, unanswered.write, WRITE_EVERY_S)),
        )
        for name, step in (*(() if place else stored_upkeep), *further_upkeep):
            runtime._tasks.append(asyncio.create_task(keep_running(name, step)))
        return runtime

    def require_not_draining(self) -> None:
        """Pass while this worker takes requests.

        Raises:
            ServerStopping: It is being stopped.
        """
        if self.is_draining:
            raise ServerStopping

    def _record_usage(self) -> None:
        """Have requests written down from now on."""
        self.usage = UsageBuffer()
        self._usage_writer = UsageWriter(self.usage, self._configuration_thread)
        recording = keep_running("usage records", self._usage_writer.round)
        self._tasks.append(asyncio.create_task(recording))

    async def aclose(self) -> None:
        """Stop the upkeep and close every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._usage_writer is not None:
            await self._usage_writer.finish()
        if self.leases is not None:
            await self.leases.aclose()
        if self.docs_upkeep is not None:
            await self.docs_upkeep.aclose()
        if self.docs_engine is not None:
            await self.docs_engine.aclose()
        await self.fleet.door.aclose()
        await self.trust.door.aclose()
        self._questions_thread.shutdown(wait=False)
        if self.source is not None:
            await self.source.aclose()
        self._configuration_thread.shutdown(wait=False)
        self.docs.close()

    def configuration_age_s(self) -> float | None:
        """Return for how long nobody has said that this is the newest configuration."""
        return None if self.confirmed_at is None else max(0.0, self.now() - self.confirmed_at)

    async def take_kept_configuration(self) -> None:
        """Serve from what an earlier run kept, until something newer is read."""
        kept = await self.source.kept() if self.source else None
        if kept is not None:
            self.confirmed_at = kept.confirmed_at
            await self._take(kept.configuration, age_s=round(self.configuration_age_s() or 0))

    async def refresh_snapshot(self) -> None:
        """Read the configuration and replace the snapshot if it changed.

        While it cannot be read, what is held goes on serving.
        """
        try:
            configuration = await self.source.read() if self.source else None
        except ConfigurationUnreadable as error:
            self._tell_unreadable(str(error))
            return
        self.confirmed_at, self._told = self.now(), ("", 0.0)
        if configuration is not None:
            await self._take(configuration)

    async def _take(self, configuration: StoredConfiguration, **about: float) -> None:
        loop = asyncio.get_running_loop()
        snapshot = await loop.run_in_executor(
            self._configuration_thread, self._snapshot_of, configuration
        )
        if snapshot is not self.snapshot:
            self.snapshot = snapshot
            tell_configuration(snapshot.version)
            self.fleet.take_over(snapshot.deployments.values())
            log.info("configuration.loaded", version=snapshot.version, **about)

    def _snapshot_of(self, configuration: StoredConfiguration) -> ServingSnapshot:
        """Runs in a thread: keys are decrypted."""
        if configuration.rows_digest() == self.snapshot.rows_digest:
            return self.snapshot
        box = SecretBox(self.options.encryption_keys)
        return build_snapshot(configuration, self.snapshot.prompts, box)

    def _tell_unreadable(self, reason: str) -> None:
        told, told_at = self._told
        if reason != told or self.now() - told_at >= TOLD_AGAIN_AFTER_S:
            age_s = self.configuration_age_s()
            log.warning(
                "configuration.unreadable",
                reason=reason,
                age_s=None if age_s is None else round(age_s),
            )
            self._told = (reason, self.now())

    async def _keep_snapshot_fresh(self) -> None:
        """Poll, or come at once when a change is announced; each worker a little apart."""
        async with listen_for_changes(self.options.redis_url) as changed:
            await keep_running("configuration", partial(self._refresh_when_due, changed))

    async def _refresh_when_due(self, changed: asyncio.Event) -> float:
        wait_s = self.options.configuration_poll_s * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), wait_s)
        changed.clear()
        await self.refresh_snapshot()
        return 0
