"""Work in the background: by a thread without Redis, by Celery with it."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.background import local_schedule, run_in_background
from gateway.celery import app
from gateway.tasks import SCHEDULE, carry_out_evaluation

WITHIN_S = 10


def test_local_thread_does_the_work_and_outlives_what_fails() -> None:
    done = threading.Event()
    seen: list[tuple[int, str]] = []

    class Work:
        name = "probes.carry_out"

        def __call__(self, number: int) -> None:
            seen.append((number, threading.current_thread().name))
            done.set()

    class Failure:
        name = "probes.sweep"

        def __call__(self) -> None:
            raise ZeroDivisionError

    with capture_logs() as logs:
        run_in_background(Failure())
        run_in_background(Work(), 7)
        assert done.wait(WITHIN_S)

    assert seen == [(7, "background probes")]
    assert [event["event"] for event in logs] == ["task.failed"]


async def test_gateway_keeps_the_schedule_where_no_beat_does(settings: Any) -> None:
    assert [name for name, _ in local_schedule()] == [task.name for task in SCHEDULE]

    settings.REDIS_URL = "redis://127.0.0.1:6379/0"
    assert [*local_schedule()] == []


@pytest.fixture
def lost_broker(settings: Any) -> Iterator[None]:
    before = app.conf.broker_url
    settings.REDIS_URL = app.conf.broker_url = "redis://127.0.0.1:9/0"
    yield
    app.conf.broker_url = before


@pytest.mark.enable_socket
@pytest.mark.usefixtures("lost_broker")
def test_broker_that_is_away_costs_nothing_but_time() -> None:
    with capture_logs() as logs:
        run_in_background(carry_out_evaluation, 7)

    assert [(event["event"], event["task"]) for event in logs] == [
        ("task.not_queued", "evaluation.carry_out")
    ]


def test_tasks_are_given_back_by_workers_that_die_and_outlived_by_their_visibility() -> None:
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost
    assert app.conf.task_time_limit < app.conf.broker_transport_options["visibility_timeout"]
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)
