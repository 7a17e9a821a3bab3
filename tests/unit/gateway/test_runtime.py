"""What a worker holds: its snapshot follows the database, and survives its absence."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from django.db import connections

from feature_config.catalogue import Feature
from gateway.configuration.history import newest_revision
from gateway.runtime import Runtime, runtime_settings
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_deployment

pytestmark = pytest.mark.django_db(transaction=True)


async def in_thread(write: Callable[..., Any], *arguments: Any, **fields: Any) -> Any:
    """Write to the database as a page does, in a thread that closes its connection."""

    def write_and_close() -> Any:
        try:
            return write(*arguments, **fields)
        finally:
            connections.close_all()

    return await asyncio.to_thread(write_and_close)


@pytest_asyncio.fixture
async def runtime() -> AsyncIterator[Runtime]:
    running = await Runtime.start(runtime_settings())
    yield running
    await running.aclose()


async def test_a_change_is_taken_and_the_snapshot_replaced_whole(runtime: Runtime) -> None:
    before = runtime.snapshot
    deployment = await in_thread(make_deployment)
    await in_thread(assign, Feature.DUO_CHAT, deployment)

    await runtime.refresh_snapshot()

    assert runtime.snapshot is not before
    assert runtime.snapshot.routes[Feature.DUO_CHAT].chosen == (deployment.name,)
    assert before.deployments == {}


async def test_nothing_is_replaced_while_nothing_changes(runtime: Runtime) -> None:
    before = runtime.snapshot

    await runtime.refresh_snapshot()

    assert runtime.snapshot is before


async def test_a_key_encrypted_anew_is_taken_as_the_same_version(runtime: Runtime) -> None:
    deployment = await in_thread(make_deployment, api_key="a-key")
    await runtime.refresh_snapshot()
    before = runtime.snapshot
    deployment.set_api_key("a-key")
    await in_thread(deployment.save)

    await runtime.refresh_snapshot()

    assert runtime.snapshot is not before
    assert runtime.snapshot.version == before.version


async def test_the_version_is_the_digest_of_the_newest_revision(runtime: Runtime) -> None:
    await in_thread(make_deployment)

    await runtime.refresh_snapshot()

    newest = await in_thread(newest_revision)
    assert runtime.snapshot.version == newest.digest


async def test_a_row_no_form_has_checked_leaves_out_itself_alone(runtime: Runtime) -> None:
    good = await in_thread(make_deployment)
    bad = await in_thread(make_deployment)
    rows = ModelDeployment.objects.filter(pk=bad.pk)
    await in_thread(rows.update, endpoints=[{"not": "a URL"}])

    await runtime.refresh_snapshot()

    assert list(runtime.snapshot.deployments) == [good.name]


async def test_workers_poll_a_little_apart(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes started at once would else ask the configuration node all at once, for ever."""
    waits: list[float] = []

    async def pass_time(waited_for: Any, timeout_s: float) -> None:
        waited_for.close()
        waits.append(timeout_s)
        raise TimeoutError

    monkeypatch.setattr("asyncio.wait_for", pass_time)
    for _ in range(20):
        await runtime._refresh_when_due(asyncio.Event())

    poll_s = runtime.options.configuration_poll_s
    assert len({round(wait_s, 6) for wait_s in waits}) > 10
    assert all(0.9 * poll_s <= wait_s <= 1.1 * poll_s for wait_s in waits)
