"""The door to model servers, for what runs outside the workers: commands, tasks, pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.conf import settings

from gateway.own_listeners import named_places, resolve_places
from selfhosted_models.endpoints import UrlPolicy
from selfhosted_models.outbound import OutboundDoor


@asynccontextmanager
async def model_server_door() -> AsyncIterator[OutboundDoor]:
    """Yield a door with the URL policy that requests have."""
    policy = UrlPolicy(settings.UPSTREAM_ALLOWED_CIDRS, settings.UPSTREAM_ALLOWED_HOSTS)
    urls = (settings.DATABASE_URL, settings.REDIS_URL, settings.SERVING_CONFIG_URL)
    own = await resolve_places(named_places(urls))
    door = OutboundDoor(policy.sparing(own))
    try:
        yield door
    finally:
        await door.aclose()
