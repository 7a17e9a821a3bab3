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

from gateway.redis_address import redis_url_from_settings
from gateway.upkeep import keep_running
from selfhosted_models.errors import SettingInvalid

log = structlog.get_logger(__name__)

CHANNEL = "selfhosted-duo:configuration-changed"
_SOCKET_TIMEOUT_S = 0.2  # an admin's save never waits long for a hint
_RECONNECT_S = 5.0
ASKED_AFTER_S = 15.0


def announce_change(**_: Any) -> None:
    """Send the hint once the change is committed; a receiver of model signals."""
    if settings.REDIS_URL:
        transaction.on_commit(_publish, robust=True)


def _publish() -> None:
    try:
        with redis.Redis.from_url(
            redis_url_from_settings(),
            socket_timeout=_SOCKET_TIMEOUT_S,
            socket_connect_timeout=_SOCKET_TIMEOUT_S,
            retry=None,
        ) as client:
            client.publish(CHANNEL, "")
    except (redis.RedisError, SettingInvalid) as error:
        log.warning("change_hint.not_sent", error=type(error).__name__)


@asynccontextmanager
async def listen_for_changes(
    redis_url: str, *, asked_after_s: float = ASKED_AFTER_S, answers_within_s: float = 5.0
) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set whenever a change is announced; never, without Redis.

    Args:
        redis_url: Of the server, or "".
        asked_after_s: A server that is silent so long is asked whether it is still there: one that
            hangs, or a network that swallows packets, never closes the connection.
        answers_within_s: Time for that answer, and for connecting.
    """
    changed = asyncio.Event()
    if not redis_url:
        yield changed
        return
    step = partial(listen, redis_url, changed, asked_after_s, answers_within_s)
    listener = asyncio.create_task(keep_running("change hints", step))
    try:
        yield changed
    finally:
        listener.cancel()
        await asyncio.wait({listener})


async def listen(
    redis_url: str, changed: asyncio.Event, asked_after_s: float, answers_within_s: float
) -> float:
    """Listen until the connection breaks or is found mute; return the seconds to the next try."""
    client = redis.asyncio.Redis.from_url(
        redis_url, socket_connect_timeout=answers_within_s, socket_timeout=answers_within_s
    )
    try:
        async with client.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(CHANNEL)
            changed.set()  # what was announced while we were away
            is_asked = False
            while True:
                wait_s = answers_within_s if is_asked else asked_after_s
                message = await subscription.get_message(timeout=wait_s)
                if message is not None and message["type"] == "message":
                    changed.set()
                elif message is None and is_asked:
                    raise redis.TimeoutError
                is_asked = message is None
                if is_asked:
                    await subscription.ping()
    except (redis.RedisError, OSError) as error:
        log.warning("change_hint.not_listening", error=type(error).__name__)
    finally:
        await client.aclose()
    return _RECONNECT_S
