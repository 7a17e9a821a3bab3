"""What requests came to, written down: a row for each, and counts for each slice of time.

Runs in a thread; several workers write at once. Each batch is one transaction.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from django.conf import settings
from django.db import connection, transaction

from gateway.exchange import Ending, Exchange
from gateway.models import LoggedRequest, SliceLength, UsageSlice
from gateway.usage.buffer import Taken
from gateway.usage.latency import bucket_of

_KEY = ("length_s", "start", "feature", "deployment")
#: Of one statement, so that its values stay below SQLite's limit of 32,766.
_ROWS_AT_ONCE = 200
_USER_HASH_CHARS = 16


@dataclass(frozen=True, slots=True, order=True)
class SliceKey:
    """Which row of usage a request counts in."""

    length_s: int
    start: datetime
    feature: str = ""
    deployment: str = ""


def write_down(taken: Taken, *, clock_offset_s: float) -> None:
    """Store requests that ended; blocks.

    Args:
        taken: What a worker has collected.
        clock_offset_s: How far the wall clock (since 1970) is ahead of the monotonic one.
    """
    ended = [
        (datetime.fromtimestamp(exchange.ended_at + clock_offset_s, UTC), exchange)
        for exchange in taken.exchanges
    ]
    counts = count_up(ended)
    if taken.unrecorded:
        now = max((at for at, _ in ended), default=datetime.now(UTC))
        for key in _keys(now, "", ""):
            counts.setdefault(key, Counter())["unrecorded"] += taken.unrecorded
    with transaction.atomic():
        if settings.REQUEST_LOG_DAYS:
            # Those without a good token are counted only: anybody may send them, without end.
            known = [pair for pair in ended if pair[1].caller is not None]
            LoggedRequest.objects.bulk_create(
                (_row(*pair) for pair in known), batch_size=_ROWS_AT_ONCE
            )
        _add(counts)


def user_hash(user: str) -> str:
    """Return what stands for a user in rows: the same for the same user, as long as the key is."""
    if not user:
        return ""
    key = f"usage:{settings.SECRET_KEY}".encode()
    return hmac.new(key, user.encode(), hashlib.sha256).hexdigest()[:_USER_HASH_CHARS]


def count_up(ended: Iterable[tuple[datetime, Exchange]]) -> dict[SliceKey, Counter[str]]:
    """Return the columns of slices that requests add to, and by how much.

    Times of answers that failed or were left are not counted: they say nothing of how long an
    answer takes.
    """
    counts: dict[SliceKey, Counter[str]] = {}
    for at, exchange in ended:
        columns = Counter({exchange.ending.value: 1})
        columns["input_tokens"] = exchange.usage.input_tokens or 0
        columns["output_tokens"] = exchange.usage.output_tokens or 0
        if exchange.first_content_s is not None:
            columns[UsageSlice.FIRST_TOKEN[bucket_of(exchange.first_content_s * 1000)]] = 1
            if exchange.ending is Ending.ANSWERED:
                columns[UsageSlice.TOTAL[bucket_of(exchange.total_s * 1000)]] = 1
        for key in _keys(at, exchange.feature, exchange.deployment):
            counts.setdefault(key, Counter()).update(columns)
    return counts


def _keys(at: datetime, feature: str, deployment: str) -> Iterable[SliceKey]:
    for length in SliceLength:
        yield SliceKey(length, length.start_of(at), feature, deployment)


def _row(at: datetime, exchange: Exchange) -> LoggedRequest:
    first_s = exchange.first_content_s
    return LoggedRequest(
        ended_at=at,
        request_id=exchange.request_id,
        route=exchange.route,
        status=exchange.status,
        ending=exchange.ending,
        outcome=exchange.outcome,
        hop=exchange.hop or "",
        reason=exchange.reason,
        feature=exchange.feature,
        deployment=exchange.deployment,
        attempts=exchange.attempts,
        prompt=exchange.prompt,
        prompt_digest=exchange.prompt_digest,
        configuration=exchange.configuration,
        user_hash=user_hash(exchange.user),
        input_tokens=exchange.usage.input_tokens,
        output_tokens=exchange.usage.output_tokens,
        queued_ms=round(exchange.queued_s * 1000),
        first_token_ms=None if first_s is None else round(first_s * 1000),
        total_ms=round(exchange.total_s * 1000),
    )


def _add(counts: Mapping[SliceKey, Counter[str]]) -> None:
    """Add to the slices, making those that are missing.

    The ORM can only replace what is there, and a read before would lose what another worker adds
    meanwhile. Always in the same order, so that two workers never wait for each other.
    """
    keys = sorted(counts)
    for first in range(0, len(keys), _ROWS_AT_ONCE):
        batch = keys[first : first + _ROWS_AT_ONCE]
        with connection.cursor() as cursor:
            cursor.execute(
                _upsert(len(batch)), [value for key in batch for value in _values(key, counts[key])]
            )


def _upsert(rows: int) -> str:
    """Return the statement; SQLite and PostgreSQL know the same one."""
    quote = connection.ops.quote_name
    table = quote(UsageSlice._meta.db_table)
    columns = [*_KEY, *UsageSlice.COUNTS]
    row = f"({', '.join(['%s'] * len(columns))})"
    added = ", ".join(
        f"{quote(name)} = {table}.{quote(name)} + excluded.{quote(name)}"
        for name in UsageSlice.COUNTS
    )
    return (  # names of our own columns; every value is a parameter
        f"INSERT INTO {table} ({', '.join(map(quote, columns))}) VALUES {', '.join([row] * rows)} "  # noqa: S608
        f"ON CONFLICT ({', '.join(map(quote, _KEY))}) DO UPDATE SET {added}"
    )


def _values(key: SliceKey, columns: Counter[str]) -> Iterable[int | str | None]:
    yield key.length_s
    yield connection.ops.adapt_datetimefield_value(key.start)
    yield key.feature
    yield key.deployment
    for name in UsageSlice.COUNTS:
        yield columns[name]
