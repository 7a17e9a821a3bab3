"""Word that the configuration changed, over Redis, so that workers need not wait for their poll.

Delivery is at most once and nothing depends on it: without Redis, or when a hint is lost, the next
poll finds the change.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import redis
import redis.asyncio
import structlog
from django.conf import settings
from django.db import transaction

from gateway.upkeep import keep_running

log = structlog.get_logger(__name__)

CHANNEL = "selfhosted-duo:configuration-changed"
_SOCKET_TIMEOUT_S = 0.2  # an admin's save never waits long for a hint
_RECONNECT_S = 5.0


def announce_change(**_: Any) -> None:
    """Send the hint once the change is committed; a receiver of model signals."""
    if settings.REDIS_URL:
        transaction.on_commit(_publish, robust=True)


def _publish() -> None:
    client = redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=_SOCKET_TIMEOUT_S,
        socket_connect_timeout=_SOCKET_TIMEOUT_S,
        retry=None,
    )
    try:
        client.publish(CHANNEL, "")
    except redis.RedisError as error:
        log.warning("change_hint.not_sent", error=type(error).__name__)
    finally:
        client.close()


@asynccontextmanager
async def listen_for_changes(redis_url: str) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set whenever a change is announced; never, without Redis."""
    changed = asyncio.Event()
    if not redis_url:
        yield changed
        return
    step = partial(_listen, redis_url, changed)
    listener = asyncio.create_task(keep_running("change hints", step))
    try:
        yield changed
    finally:
        listener.cancel()
        await asyncio.wait({listener})


async def _listen(redis_url: str, changed: asyncio.Event) -> float:
    """Listen until the connection breaks; return when to try again."""
    client = redis.asyncio.Redis.from_url(redis_url, health_check_interval=30)
    try:
        async with client.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(CHANNEL)
            changed.set()  # what was announced while we were away
            async for _ in subscription.listen():
                changed.set()
    except (redis.RedisError, OSError) as error:
        log.warning("change_hint.not_listening", error=type(error).__name__)
    finally:
        await client.aclose()
    return _RECONNECT_S
