"""The way to the package registry of documentation indexes: through the outbound door."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.conf import settings

from docsearch.registry import PackageRegistry
from docsearch.signing import load_signing_key, load_trusted_keys, public_text
from gateway.documentation.blocking_fetch import Runs, Server, door_for_command, fetch_through
from selfhosted_models.endpoints import Endpoint, UrlPolicy, setting_endpoint
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.serving import Clocks

NO_REGISTRY = (
    "No package registry is named. Set DOCS_REGISTRY_URL to a project's packages URL, as in "
    "https://gitlab.example.com/api/v4/projects/42/packages, and DOCS_REGISTRY_TOKEN."
)
#: A download of at most 512 MiB ends within ten minutes, or goes on in the next attempt.
_CLOCKS = Clocks(connect_s=5, first_token_s=60, idle_s=30, total_s=600)


@dataclass(frozen=True, slots=True)
class DocsRegistryPlace:
    """Where indexes are published, and whose are taken."""

    endpoint: Endpoint
    trusted_keys: frozenset[str]
    token: str = field(default="", repr=False)


def docs_registry_from_settings() -> DocsRegistryPlace | None:
    """Return the registry the settings name, if any.

    Raises:
        SettingInvalid: DOCS_REGISTRY_URL is not a plain http(s) URL.
        KeyInvalid: A key is none.
    """
    endpoint = docs_registry_endpoint_from_settings()
    if endpoint is None:
        return None
    return DocsRegistryPlace(endpoint, trusted_docs_keys(), settings.DOCS_REGISTRY_TOKEN)


def docs_registry_endpoint_from_settings() -> Endpoint | None:
    """Return where the registry is, if the settings name one.

    Raises:
        SettingInvalid: DOCS_REGISTRY_URL is not a plain http(s) URL.
    """
    if not settings.DOCS_REGISTRY_URL:
        return None
    return setting_endpoint(
        "DOCS_REGISTRY_URL",
        settings.DOCS_REGISTRY_URL,
        "Write a project's packages URL, with the project's number, as in "
        "https://gitlab.example.com/api/v4/projects/42/packages.",
    )


def trusted_docs_keys() -> frozenset[str]:
    """Return the public keys whose indexes are taken; our own unless the settings name some.

    Raises:
        KeyInvalid: A key is none.
    """
    if settings.DOCS_TRUSTED_KEYS:
        return load_trusted_keys(settings.DOCS_TRUSTED_KEYS)
    own = load_signing_key(settings.DOCS_SIGNING_KEY)
    return frozenset({public_text(own.public_key())})


def registry_door(place: DocsRegistryPlace, policy: UrlPolicy) -> OutboundDoor:
    """Return a door to the registry; a URL of the environment skips only the allow-list."""
    return OutboundDoor(policy.trusting([place.endpoint.host]))


def package_registry(place: DocsRegistryPlace, door: OutboundDoor, runs: Runs) -> PackageRegistry:
    """Return the registry behind `door`; its methods block, and never in the door's own loop."""
    server = Server(
        "The package registry",
        place.endpoint,
        _CLOCKS,
        advice="Check DOCS_REGISTRY_URL, and that this node reaches it.",
    )
    return PackageRegistry(fetch_through(door, server, runs), place.token)


@contextmanager
def open_registry(place: DocsRegistryPlace) -> Iterator[PackageRegistry]:
    """Open the registry for a command, which has no event loop of its own."""
    policy = UrlPolicy(settings.UPSTREAM_ALLOWED_CIDRS, settings.UPSTREAM_ALLOWED_HOSTS)
    with door_for_command(lambda: registry_door(place, policy)) as (door, runs):
        yield package_registry(place, door, runs)
