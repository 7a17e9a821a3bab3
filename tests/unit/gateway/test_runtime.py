"""What a worker holds: its snapshot follows the database, and survives its absence."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async

from feature_config.catalogue import Feature
from gateway.runtime import Runtime, runtime_settings
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_deployment

pytestmark = pytest.mark.django_db(transaction=True)


@pytest_asyncio.fixture
async def runtime() -> AsyncIterator[Runtime]:
    running = await Runtime.start(runtime_settings())
    yield running
    await running.aclose()


async def test_a_change_is_taken_and_the_snapshot_replaced_whole(runtime: Runtime) -> None:
    before = runtime.snapshot
    deployment = await sync_to_async(make_deployment)()
    await sync_to_async(assign)(Feature.DUO_CHAT, deployment)

    await runtime.refresh_snapshot()

    assert runtime.snapshot is not before
    assert runtime.snapshot.routes[Feature.DUO_CHAT].chosen == (deployment.name,)
    assert before.deployments == {}


async def test_nothing_is_replaced_while_nothing_changes(runtime: Runtime) -> None:
    before = runtime.snapshot

    await runtime.refresh_snapshot()

    assert runtime.snapshot is before


async def test_a_row_no_form_has_checked_leaves_out_itself_alone(runtime: Runtime) -> None:
    good = await sync_to_async(make_deployment)()
    bad = await sync_to_async(make_deployment)()
    rows = ModelDeployment.objects.filter(pk=bad.pk)
    await sync_to_async(rows.update)(endpoints=[{"not": "a URL"}])

    await runtime.refresh_snapshot()

    assert list(runtime.snapshot.deployments) == [good.name]
