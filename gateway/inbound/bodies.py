"""Reading a request's body, whoever serves it: counted while it comes, and timed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from gateway.errors import BodyTimeout, BodyTooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_WITHIN_S = 15.0


class ClientLeft(Exception):
    """The client closed its connection."""


async def read_body(scope: Mapping[str, Any], receive: Receive, *, max_bytes: int) -> bytes:
    """Return the body.

    Raises:
        BodyTooLarge: It is, or is declared to be, larger than `max_bytes`.
        BodyTimeout: It did not arrive within 15 seconds.
        ClientLeft: The client closed its connection.
    """
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    parts, total = [], 0
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                parts.append(message.get("body", b""))
                total += len(parts[-1])
                if total > max_bytes:
                    raise _too_large(max_bytes)
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError as error:
        raise BodyTimeout(
            f"The body did not arrive within {BODY_WITHIN_S:g} seconds: send it at once."
        ) from error


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {max_bytes:,} bytes: send less text.")
