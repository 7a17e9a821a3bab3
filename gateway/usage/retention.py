"""Deleting what was kept long enough, in pieces: no table is locked for long."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from gateway.models import LoggedRequest, SliceLength, UsageSlice

log = structlog.get_logger(__name__)

CHUNK_ROWS = 2_000
#: The home page looks back an hour.
FINEST_SLICES_FOR = timedelta(days=2)


def forget_usage() -> None:
    """Delete old requests and slices, and the oldest requests where there are too many."""
    deleted = sum(_delete(rows) for rows in _outdated(timezone.now()))
    if deleted:
        log.info("usage.deleted", rows=deleted)


def _outdated(now: datetime) -> Iterator[QuerySet[Any]]:
    requests = LoggedRequest.objects
    yield requests.filter(ended_at__lt=now - timedelta(days=settings.REQUEST_LOG_DAYS))
    most = settings.REQUEST_LOG_MAX_ROWS
    too_old = requests.order_by("-id").values_list("id", flat=True)[most : most + 1].first()
    if too_old is not None:
        yield requests.filter(id__lte=too_old)
    slices = UsageSlice.objects
    yield slices.filter(length_s=SliceLength.FIVE_MINUTES, start__lt=now - FINEST_SLICES_FOR)
    for length_s in (SliceLength.HOUR, SliceLength.DAY, SliceLength.WEEK):
        oldest = now - timedelta(days=settings.USAGE_DAYS)
        yield slices.filter(length_s=length_s, start__lt=oldest)


def _delete(rows: QuerySet[Any]) -> int:
    deleted = 0
    while ids := list(rows.order_by("id").values_list("id", flat=True)[:CHUNK_ROWS]):
        deleted += rows.model._default_manager.filter(id__in=ids).delete()[0]
    return deleted
