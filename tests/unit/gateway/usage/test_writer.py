"""What a worker has collected is written, kept while the database is away, and never in the way."""

import asyncio
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from django.db import DataError, InterfaceError, OperationalError, connections
from structlog.testing import capture_logs

from gateway.models import LoggedRequest
from gateway.runtime import Runtime, runtime_settings
from gateway.usage.buffer import Taken, UsageBuffer
from gateway.usage.writer import UsageWriter
from tests.unit.gateway.usage.ended import ended


class FailingThread(Executor):
    """A thread in which everything fails in the same way."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def submit(self, *_: Any, **__: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_exception(self._error)
        return future


@pytest.mark.parametrize("error", [OperationalError(), InterfaceError()])
async def test_nothing_is_lost_while_the_database_is_away(error: Exception) -> None:
    buffer, request = UsageBuffer(), ended(1.0)
    buffer.add(request)

    with capture_logs() as logs:
        await UsageWriter(buffer, FailingThread(error)).round()

    assert buffer.take() == Taken([request], 0)
    assert [event["event"] for event in logs] == ["usage.not_written"]


async def test_what_the_database_will_never_take_is_not_tried_again() -> None:
    buffer = UsageBuffer()
    buffer.add(ended(1.0))

    with capture_logs() as logs:
        await UsageWriter(buffer, FailingThread(DataError())).round()

    assert buffer.take() == Taken([], 1)
    assert [event["event"] for event in logs] == ["usage.discarded"]


@pytest.mark.django_db(transaction=True)
async def test_worker_that_stops_writes_down_the_last_requests() -> None:
    runtime = await Runtime.start(runtime_settings())
    assert runtime.usage is not None
    runtime.usage.add(ended(asyncio.get_running_loop().time()))

    await runtime.aclose()

    def rows() -> int:
        try:
            return LoggedRequest.objects.count()
        finally:
            connections.close_all()

    assert await asyncio.to_thread(rows) == 1
