"""What was kept long enough is deleted, in pieces, and nothing else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from gateway.models import LoggedRequest, SliceLength, UsageSlice
from gateway.usage import retention
from gateway.usage.retention import forget_usage

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def add_requests(*days_ago: float) -> None:
    LoggedRequest.objects.bulk_create(
        LoggedRequest(
            ended_at=NOW - timedelta(days=days),
            request_id=f"{days} days",
            status=200,
            attempts=1,
            queued_ms=0,
            total_ms=1,
        )
        for days in days_ago
    )


def kept() -> list[str]:
    return [row.request_id for row in LoggedRequest.objects.order_by("id")]


def test_requests_are_deleted_after_their_days(settings: Any) -> None:
    settings.REQUEST_LOG_DAYS = 2
    add_requests(5, 2.1, 1.9, 0)

    forget_usage()

    assert kept() == ["1.9 days", "0 days"]


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_the_oldest_requests_go_where_there_are_too_many(settings: Any, count: int) -> None:
    settings.REQUEST_LOG_MAX_ROWS = 3
    add_requests(*reversed(range(count)))

    forget_usage()

    assert kept() == [f"{days} days" for days in reversed(range(min(count, 3)))]


def test_more_rows_than_one_piece_holds_are_deleted(settings: Any) -> None:
    settings.REQUEST_LOG_DAYS = 1
    add_requests(*([2] * (2 * retention.CHUNK_ROWS + 1)), 0)

    forget_usage()

    assert kept() == ["0 days"]


def test_slices_are_deleted_the_finest_first(settings: Any) -> None:
    settings.USAGE_DAYS = 30
    for length_s in SliceLength:
        for days in (31, 29, 1):
            UsageSlice.objects.create(length_s=length_s, start=NOW - timedelta(days=days))

    forget_usage()

    left = [
        [(NOW - row.start).days for row in UsageSlice.objects.filter(length_s=length_s)]
        for length_s in SliceLength
    ]
    assert left == [[1], [29, 1], [29, 1], [29, 1]]
