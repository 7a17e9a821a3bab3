"""Two changes at the same time, on SQLite; `tests/e2e` has the same on PostgreSQL."""

import asyncio
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from django.db import connection, connections

from gateway.audit import Attribution, Origin, verify
from gateway.configuration.history import changing_configuration
from gateway.configuration.stored import read_configuration
from gateway.models import Revision
from tests.factories import make_deployment

pytestmark = pytest.mark.django_db(transaction=True)


def add(name: str) -> None:
    try:
        with changing_configuration(Attribution(name, Origin.REST)):
            make_deployment(name=name)
    finally:
        connections.close_all()


async def test_changes_at_once_come_one_after_the_other() -> None:
    names = [f"gpu{number}" for number in range(4)]

    await asyncio.gather(*(asyncio.to_thread(add, name) for name in names))

    rows, found = await asyncio.to_thread(read)
    assert [(number, count) for number, count, _ in rows] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert sorted(author for _, _, author in rows) == names
    assert found == ()


def read() -> tuple[list[tuple[int, int, str]], tuple[str, ...]]:
    try:
        rows = [
            (row.number, len(row.document["deployments"]), row.author)
            for row in Revision.objects.all()
        ]
        return rows, verify().problems
    finally:
        connections.close_all()


def test_change_amid_the_reading_is_seen_whole_or_not_at_all() -> None:
    add("gpu1")
    before = read_configuration().document()
    changes = iter([lambda: add("gpu2")])

    def change_after_the_first_query(
        execute: Callable[..., Any], sql: str, *rest: Any, **options: Any
    ) -> Any:
        result = execute(sql, *rest, **options)
        if sql.startswith("SELECT") and (change := next(changes, None)):
            other = Thread(target=change)
            other.start()
            other.join()
        return result

    with connection.execute_wrapper(change_after_the_first_query):
        amid = read_configuration().document()

    assert amid == before
    assert [entry.name for entry in read_configuration().document().deployments][-1] == "gpu2"
