"""What checks learn of an installation from one another."""

import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import django.conf

from gateway.authentication.trusted_keys import issuer_sources
from gateway.configuration.stored import StoredConfiguration
from gateway.snapshot import ServingSnapshot
from selfhosted_models.endpoints import Endpoint, UrlPolicy, is_ip_literal, parse_endpoint
from selfhosted_models.errors import EndpointRefused

#: A resolver that is away is not waited for longer.
RESOLVES_WITHIN_S = 2.0


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
        gateway_endpoint: Where the gateway of this machine listens.
        resolve: Looks a name up.
    """

    settings: Any = field(default_factory=lambda: django.conf.settings)
    configuration: StoredConfiguration | None = None
    snapshot: ServingSnapshot | None = None
    is_database_usable: bool = False
    gateway_endpoint: Endpoint = field(
        default_factory=lambda: parse_endpoint("http://127.0.0.1:8000")
    )
    resolve: Callable[[str], tuple[str, ...]] = field(default_factory=lambda: resolve_in_time)
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
            self._addresses[host] = self.resolve(host)
        return self._addresses[host]


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


def resolve_in_time(host: str) -> tuple[str, ...]:
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
        return answer.get(timeout=RESOLVES_WITHIN_S)
    except queue.Empty:
        return ()
