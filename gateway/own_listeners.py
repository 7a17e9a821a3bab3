"""Where this installation itself listens: places no deployment may point at.

A model endpoint that named our own database, Redis or gateway would turn whoever may register
deployments into a client of those, from inside.
"""

import asyncio
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

import structlog

log = structlog.get_logger(__name__)

Place = tuple[str, int]

_LOOK_UP_WITHIN_S = 2.0
_DEFAULT_PORTS = {
    "postgres": 5432,
    "postgresql": 5432,
    "redis": 6379,
    "rediss": 6379,
    "http": 80,
    "https": 443,
}


def named_places(urls: Iterable[str]) -> list[Place]:
    """Return host and port of each URL that names a host; a file or a Unix socket has none."""
    places = []
    for url in urls:
        try:
            parts = urlsplit(url)
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        except ValueError:  # the checks tell what is wrong with it
            continue
        if parts.hostname and port:
            places.append((parts.hostname, port))
    return places


async def resolve_places(places: Iterable[Place]) -> frozenset[Place]:
    """Return the addresses of `places`; a name that cannot be looked up now is left out."""
    loop = asyncio.get_running_loop()
    found: set[Place] = set()
    for host, port in places:
        try:
            async with asyncio.timeout(_LOOK_UP_WITHIN_S):
                answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError):
            log.warning("own_listener.unknown", host=host)
            continue
        found.update((str(address[0]), int(address[1])) for *_, address in answers)
    return frozenset(found)
