import asyncio

import pytest
import structlog.testing
from django.db import connections
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from gateway.configuration.change_hints import announce_change, listen, listen_for_changes
from tests.factories import make_deployment
from tests.fakes.fault_proxy import FaultProxy
from tests.services import free_port


def _announce_and_close() -> None:
    """Announce as a page's thread does, which closes its connection when it is done."""
    announce_change()
    connections.close_all()


@pytest.mark.django_db
def test_without_redis_nothing_is_announced(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        make_deployment()

    assert callbacks == []


async def test_without_redis_no_change_is_heard_of() -> None:
    async with listen_for_changes("") as changed:
        await asyncio.sleep(0)

    assert not changed.is_set()


@pytest.mark.django_db
@pytest.mark.enable_socket
def test_redis_that_is_down_never_fails_a_save(
    settings: Settings,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    with (
        structlog.testing.capture_logs() as logs,
        django_capture_on_commit_callbacks(execute=True),
    ):
        make_deployment()

    assert [event["event"] for event in logs] == ["change_hint.not_sent"]


@pytest.mark.django_db
@pytest.mark.enable_socket
async def test_announced_change_is_heard(settings: Settings, valkey_url: str) -> None:
    settings.REDIS_URL = valkey_url

    async with listen_for_changes(valkey_url) as changed, asyncio.timeout(10):
        await changed.wait()  # set once on connecting
        changed.clear()
        await asyncio.to_thread(_announce_and_close)
        await changed.wait()

    assert changed.is_set()


@pytest.mark.enable_socket
async def test_a_server_that_goes_mute_is_left_for_another_connection(valkey_url: str) -> None:
    changed = asyncio.Event()
    with FaultProxy(valkey_url) as network, structlog.testing.capture_logs() as logs:
        url = f"redis://127.0.0.1:{network.port}/0"
        listening = asyncio.create_task(
            listen(url, changed, asked_after_s=0.05, answers_within_s=0.5)
        )
        await changed.wait()
        await asyncio.to_thread(network.break_with, "hang")

        assert await asyncio.wait_for(listening, 20) > 0

    assert logs[-1]["event"] == "change_hint.not_listening"
