"""The one seam between what wants work done in the background and what does it.

With REDIS_URL that is a Celery worker. Without, it is a thread of this process for each kind of
work, one piece after the other; what is not done when the process ends is found by the next one's
schedule.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import structlog
from django.conf import settings
from django.db import close_old_connections
from kombu.exceptions import OperationalError

from gateway.tasks import SCHEDULE
from gateway.upkeep import Step

log = structlog.get_logger(__name__)


def run_in_background(task: Any, *ids: int) -> None:
    """Have `task` run soon, with ids as its arguments; returns at once."""
    if not settings.REDIS_URL:
        kind = task.name.partition(".")[0]
        _local_worker(kind).put(partial(task, *ids))
        return
    try:
        task.apply_async(ids, retry=False)
    except OperationalError as error:  # the sweep finds it once the broker is back
        log.warning("task.not_queued", task=task.name, error=type(error).__name__)


def local_schedule() -> Iterator[tuple[str, Step]]:
    """Yield the upkeep of a gateway worker that does what Celery's beat does elsewhere."""
    if settings.REDIS_URL or settings.SERVING_CONFIG_URL:  # work is stored in the database
        return
    for task, every_s in SCHEDULE.items():
        yield task.name, partial(_run_and_wait, task, every_s)


async def _run_and_wait(task: Any, every_s: float) -> float:
    run_in_background(task)
    return every_s


@cache
def _local_worker(kind: str) -> "queue.SimpleQueue[Callable[[], None]]":
    """Return the queue of a local worker thread, which the first use starts."""
    jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    # A daemon: the process need not wait for the work to end.
    threading.Thread(target=_work, args=(jobs,), name=f"background {kind}", daemon=True).start()
    return jobs


def _work(jobs: "queue.SimpleQueue[Callable[[], None]]") -> None:
    while True:
        job = jobs.get()
        close_old_connections()
        try:
            job()
        except Exception:  # the boundary: the next piece of work must not suffer
            log.exception("task.failed")
        finally:
            close_old_connections()
