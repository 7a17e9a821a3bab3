"""The way to the package registry of documentation indexes: through the outbound door."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from django.conf import settings

from docsearch.errors import RegistryUnreachable
from docsearch.registry import Answer, Call, PackageRegistry
from docsearch.signing import load_signing_key, load_trusted_keys, public_text
from selfhosted_models.endpoints import Endpoint, UrlPolicy, parse_endpoint
from selfhosted_models.errors import DeploymentError
from selfhosted_models.outbound import Download, OutboundDoor, OutboundRequest
from selfhosted_models.serving import Clocks

#: A download of at most 512 MiB ends within ten minutes, or goes on in the next attempt.
_CLOCKS = Clocks(connect_s=5, first_token_s=60, idle_s=30, total_s=600)

_T = TypeVar("_T")


class Run(Protocol):
    """Runs a coroutine in the event loop the door lives in, and waits for it."""

    def __call__(self, coroutine: Coroutine[Any, Any, _T], /) -> _T: ...


@dataclass(frozen=True, slots=True)
class DocsRegistryPlace:
    """Where indexes are published, and whose are taken."""

    endpoint: Endpoint
    trusted_keys: frozenset[str]
    token: str = field(default="", repr=False)


def docs_registry_from_settings() -> DocsRegistryPlace | None:
    """Return the registry the settings name, if any.

    Raises:
        EndpointRefused: DOCS_REGISTRY_URL is not a plain http(s) URL.
        KeyInvalid: A key is none.
    """
    if not settings.DOCS_REGISTRY_URL:
        return None
    return DocsRegistryPlace(
        parse_endpoint(settings.DOCS_REGISTRY_URL),
        trusted_docs_keys(),
        settings.DOCS_REGISTRY_TOKEN,
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


def package_registry(place: DocsRegistryPlace, door: OutboundDoor, run: Run) -> PackageRegistry:
    """Return the registry behind `door`; its methods block, and never in the door's own loop."""

    async def open_answer(call: Call) -> Download:
        request = OutboundRequest(
            hop="The package registry",
            endpoint=place.endpoint,
            path=call.path,
            method=call.method,
            headers=call.headers,
            body=call.body,
        )
        headers_by = asyncio.get_running_loop().time() + _CLOCKS.first_token_s
        return await door.open_download(request, _CLOCKS, headers_by=headers_by)

    def parts(download: Download) -> Iterator[bytes]:
        while (part := _reached(run, download.read())) is not None:
            yield part

    @contextmanager
    def fetch(call: Call) -> Iterator[Answer]:
        download = _reached(run, open_answer(call))
        try:
            yield Answer(download.status, download.headers, parts(download))
        finally:
            run(download.aclose())

    return PackageRegistry(fetch, place.token)


@contextmanager
def open_registry(place: DocsRegistryPlace) -> Iterator[PackageRegistry]:
    """Open the registry for a command, which has no event loop of its own."""
    policy = UrlPolicy(settings.UPSTREAM_ALLOWED_CIDRS, settings.UPSTREAM_ALLOWED_HOSTS)

    async def make_door() -> OutboundDoor:
        return registry_door(place, policy)

    with asyncio.Runner() as runner:
        door = runner.run(make_door())
        try:
            yield package_registry(place, door, runner.run)
        finally:
            runner.run(door.aclose())


def _reached(run: Run, coroutine: Coroutine[Any, Any, _T]) -> _T:
    try:
        return run(coroutine)
    except DeploymentError as error:
        raise RegistryUnreachable(
            f"{error.admin_message} Check DOCS_REGISTRY_URL, and that this node reaches it."
        ) from error
