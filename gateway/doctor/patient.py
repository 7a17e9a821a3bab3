"""What checks learn of an installation from one another."""

import os
import queue
import shutil
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django.conf

from gateway.authentication.trusted_keys import issuer_sources
from gateway.configuration.stored import StoredConfiguration
from gateway.snapshot import ServingSnapshot
from selfhosted_models.endpoints import Endpoint, UrlPolicy, is_ip_literal, parse_endpoint
from selfhosted_models.errors import EndpointRefused
from selfhosted_models.serving import Clocks

_NAMES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what does not answer.

    Attributes:
        resolver_s: For the address of a name.
        redis_s: For a connection to Redis.
        worker_s: For a Celery worker to do what it was asked.
        server: For what answers at once: GitLab, a certificate, the gateway, a search engine.
        model: For an answer of a model.
    """

    resolver_s: float = 2.0
    redis_s: float = 2.0
    worker_s: int = 10
    server: Clocks = Clocks(connect_s=2, first_token_s=3, idle_s=2, total_s=4)
    model: Clocks = Clocks(connect_s=2, first_token_s=10, idle_s=5, total_s=15)


def _nobody_waits(_: str) -> None:
    pass


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True)
class Hop:
    """A place this node talks to.

    Attributes:
        name: In messages.
        setting: Where its address is written.
        is_from_environment: Its URL is in the environment: it skips the allow-list.
    """

    name: str
    setting: str
    endpoint: Endpoint
    is_from_environment: bool = True


@dataclass(slots=True)
class Patient:
    """An installation under examination.

    Attributes:
        settings: Django's.
        configuration: What is stored; None until the check that reads it has done so.
        snapshot: What it is served as.
        is_database_usable: Whether checks may ask it.
        is_redis_usable: Likewise.
        gateway_endpoint: Where the gateway of this machine listens.
        patience: How long is waited.
        on_wait: Told what is waited for, before it is.
        resolve: Looks a name up; None: the resolver of this machine does.
        free_bytes: Tells the free space of a folder.
        user_id: Of whoever examines.
    """

    settings: Any = field(default_factory=lambda: django.conf.settings)
    configuration: StoredConfiguration | None = None
    snapshot: ServingSnapshot | None = None
    is_database_usable: bool = False
    is_redis_usable: bool = False
    gateway_endpoint: Endpoint = field(
        default_factory=lambda: parse_endpoint("http://127.0.0.1:8000")
    )
    patience: Patience = Patience()
    on_wait: Callable[[str], None] = _nobody_waits
    resolve: Callable[[str], tuple[str, ...]] | None = None
    free_bytes: Callable[[Path], int] = _free_bytes
    user_id: int = field(default_factory=os.geteuid)
    _addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_gateway_node(self) -> bool:
        """Whether it has no database, and takes its configuration from another node."""
        return bool(self.settings.SERVING_CONFIG_URL)

    @property
    def policy(self) -> UrlPolicy:
        return UrlPolicy(self.settings.UPSTREAM_ALLOWED_CIDRS, self.settings.UPSTREAM_ALLOWED_HOSTS)

    def policy_for(self, hop: Hop) -> UrlPolicy:
        return self.policy.trusting([hop.endpoint.host] if hop.is_from_environment else [])

    def hops(self) -> Iterator[Hop]:
        """Yield what is dialled by http(s); URLs that are none are told by the settings check."""
        named = [
            ("GitLab", "AIGW_GITLAB_URL", self.settings.AIGW_GITLAB_URL),
            ("the docs registry", "DOCS_REGISTRY_URL", self.settings.DOCS_REGISTRY_URL),
            ("the documentation's search engine", "DOCS_SEARCH_URL", self.settings.DOCS_SEARCH_URL),
            ("the configuration node", "SERVING_CONFIG_URL", self.settings.SERVING_CONFIG_URL),
        ]
        for name, setting, url in named:
            if url and (endpoint := _endpoint(url)):
                yield Hop(name, setting, endpoint)
        try:
            sources = issuer_sources("", self.settings.GATEWAY_TRUSTED_ISSUERS)
        except (ValueError, EndpointRefused):
            sources = ()
        for source in sources:
            yield Hop(f"the issuer {source.issuer}", "GATEWAY_TRUSTED_ISSUERS", source.url)
        for row in self.configuration.deployments if self.configuration else ():
            for url in row.endpoints if row.is_active else ():
                if endpoint := _endpoint(str(url)):
                    yield Hop(f"the deployment {row.name}", "its endpoints", endpoint, False)

    def stores(self) -> Mapping[str, str]:
        """Return the hosts of database and Redis by the setting that names them."""
        urls = {"DATABASE_URL": self.settings.DATABASE_URL, "REDIS_URL": self.settings.REDIS_URL}
        if self.is_gateway_node:
            del urls["DATABASE_URL"]
        hosts = {setting: _host(url) for setting, url in urls.items()}
        return {setting: host for setting, host in hosts.items() if host}

    def addresses_of(self, host: str) -> tuple[str, ...]:
        """Return what `host` resolves to; nothing if that is not known in time."""
        if is_ip_literal(host):
            return (host,)
        if host not in self._addresses:
            self.on_wait(f"the address of {host}")
            self._addresses[host] = (
                self.resolve(host)
                if self.resolve
                else resolve_in_time(host, within_s=self.patience.resolver_s)
            )
        return self._addresses[host]

    def resolve_all(self, hosts: Iterable[str]) -> None:
        """Look names up at once: those that nobody knows are waited for together."""
        with ThreadPoolExecutor(_NAMES_AT_ONCE) as pool:
            list(pool.map(self.addresses_of, hosts))


def _endpoint(url: str) -> Endpoint | None:
    try:
        return parse_endpoint(url)
    except EndpointRefused:
        return None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def resolve_in_time(host: str, *, within_s: float) -> tuple[str, ...]:
    """Return the addresses of a host, none if the resolver does not say in time.

    It is asked in a thread that nobody waits for at the end: the system's own patience is longer.
    """
    answer: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        answer.put(tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    try:
        return answer.get(timeout=within_s)
    except queue.Empty:
        return ()
