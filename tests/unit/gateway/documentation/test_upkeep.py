"""Who is woken when somebody wants the package registry looked at; the looks: contract tests."""

import pytest

from docsearch.models import CheckRequest
from gateway.documentation.upkeep import CheckRequests

pytestmark = pytest.mark.django_db


def test_every_worker_is_woken_once_by_each_request() -> None:
    CheckRequest.objects.ask()  # before the workers came: they look anyway
    woken: list[str] = []
    workers = [CheckRequests(lambda name=name: woken.append(name)) for name in ("a", "b")]  # type: ignore[misc]

    def read_twice() -> list[str]:
        woken.clear()
        for _ in range(2):
            for worker in workers:
                worker.read()
        return [*woken]

    assert read_twice() == []
    for _ in range(2):
        CheckRequest.objects.ask()
        assert read_twice() == ["a", "b"]


def test_the_first_request_of_all_wakes_a_worker() -> None:
    woken: list[int] = []
    worker = CheckRequests(lambda: woken.append(1))
    worker.read()

    CheckRequest.objects.ask()
    worker.read()

    assert woken == [1]
