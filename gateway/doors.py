"""The door to model servers, for what runs outside the workers: commands, tasks, pages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from django.conf import settings

from gateway.own_listeners import named_places, resolve_places
from gateway.routing.errors import DeploymentBusy
from gateway.routing.fleet import Fleet
from gateway.routing.leases import SlotLeases
from gateway.routing.line import Lane
from gateway.runtime import RuntimeSettings
from gateway.upkeep import keep_running
from selfhosted_models.endpoints import UrlPolicy
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.serving import ServingConfig

#: How long one question of ours waits for people's requests to leave it a slot.
MAX_SLOT_WAIT_S = 60.0


@asynccontextmanager
async def model_server_door() -> AsyncIterator[OutboundDoor]:
    """Yield a door with the URL policy that requests have."""
    policy = UrlPolicy(settings.UPSTREAM_ALLOWED_CIDRS, settings.UPSTREAM_ALLOWED_HOSTS)
    urls = (settings.DATABASE_URL, settings.REDIS_URL, settings.SERVING_CONFIG_URL)
    async with _door(policy, urls) as door:
        yield door


@asynccontextmanager
async def _door(policy: UrlPolicy, own_urls: tuple[str, str, str]) -> AsyncIterator[OutboundDoor]:
    own = await resolve_places(named_places(own_urls))
    door = OutboundDoor(policy.sparing(own))
    try:
        yield door
    finally:
        await door.aclose()


@asynccontextmanager
async def open_fleet(
    options: RuntimeSettings, servings: tuple[ServingConfig, ...]
) -> AsyncIterator[Fleet]:
    """Yield the model servers, within the URL policy and, with Redis, within leased slots."""
    # No circuits: a case that another one's failure kept from being asked would tell nothing.
    limits = replace(options.limits, breaker_failures=0)
    async with _door(options.url_policy, options.own_urls) as door:
        fleet = Fleet(
            door,
            limits,
            asks_for_streams=not options.disable_streaming,
            is_leasing=bool(options.redis_url),
        )
        fleet.take_over(servings)
        if not options.redis_url:
            yield fleet
            return
        async with _leasing(options.redis_url, fleet):
            yield fleet


@asynccontextmanager
async def _leasing(redis_url: str, fleet: Fleet) -> AsyncIterator[None]:
    leases = SlotLeases(redis_url, fleet)
    await leases.renew()
    renewing = asyncio.create_task(keep_running("slot leases", leases.renew_when_due))
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.wait({renewing})
        await leases.aclose()


@asynccontextmanager
async def own_slot(fleet: Fleet, serving: ServingConfig) -> AsyncIterator[None]:
    """Hold one of the requests that `serving` takes at once; waits for it up to a minute.

    Raises:
        DeploymentBusy: None came free.
    """
    line, began_at = fleet.line_of(serving), fleet.now()
    while True:
        try:
            slot = await line.enter(Lane.CHECK, "", by=began_at + MAX_SLOT_WAIT_S)
            break
        except DeploymentBusy as busy:
            if fleet.now() + busy.retry_after_s > began_at + MAX_SLOT_WAIT_S:
                raise
            await asyncio.sleep(busy.retry_after_s)
    try:
        yield
    finally:
        line.leave(slot, was_answered=False)
