"""Two changes at the same time, on SQLite; `tests/e2e` has the same on PostgreSQL."""

import asyncio

import pytest
from django.db import connections

from gateway.audit import Attribution, Origin, verify
from gateway.configuration.history import changing_configuration
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
