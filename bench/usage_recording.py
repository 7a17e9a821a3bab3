#!/usr/bin/env python
"""What recording a request costs: on its path, and later in the thread that writes it down.

    .venv/bin/python bench/usage_recording.py
    .venv/bin/python bench/usage_recording.py --database-url postgres://user@127.0.0.1/bench

In process: ended requests are added to a worker's buffer, then taken out and written in batches of
as many as a busy worker serves between two writes. Times are CPU of the process, medians.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 7
ADDED = 10_000
BATCHES = (1, 50, 500)
FEATURES, DEPLOYMENTS = ("duo_chat", "code_completions", "code_generations"), ("gpu1", "gpu2")


def cpu_us(work: Callable[[], object], *, of: int) -> float:
    """Return the CPU time of `work` for each of so many requests, in microseconds."""
    before = time.process_time()
    work()
    return (time.process_time() - before) / of * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the usage records per request.")
    parser.add_argument("--database-url", help="left out: SQLite in a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as data_dir:
        os.environ |= {
            "DATA_DIR": data_dir,
            "DATABASE_URL": arguments.database_url or f"sqlite:///{data_dir}/db.sqlite3",
            "DJANGO_SETTINGS_MODULE": "gateway.settings",
        }
        sys.path.insert(0, str(ROOT))
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        report()


def report() -> None:
    from gateway.usage.buffer import UsageBuffer
    from gateway.usage.store import write_down

    ended = exchanges(ADDED)
    buffer = UsageBuffer()

    def add() -> None:
        for exchange in ended:
            buffer.add(exchange)

    def written(size: int) -> float:
        for exchange in ended[:size]:
            buffer.add(exchange)
        taken = buffer.take()
        offset_s = time.time() - time.monotonic()
        return cpu_us(lambda: write_down(taken, clock_offset_s=offset_s), of=size)

    added_us = []
    for _ in range(ROUNDS):
        added_us.append(cpu_us(add, of=ADDED))
        buffer.take()
    print("| | CPU µs per request |\n|---|---|")
    print(f"| on its path: append to the buffer | {statistics.median(added_us):.2f} |")
    for size in BATCHES:
        written(size)  # the first makes the rows of slices
        later_us = statistics.median(written(size) for _ in range(ROUNDS))
        print(f"| later, in a thread: a batch of {size} | {later_us:,.0f} |")


def exchanges(count: int) -> Sequence[Any]:
    """Return requests that have just ended, of a few features and deployments."""
    from gateway.authentication.verifier import Caller
    from gateway.exchange import Exchange
    from selfhosted_models.serving_formats.base import Usage

    caller, now = Caller("instance-1", frozenset(), is_own_issued=False), time.monotonic()
    made = []
    for number in range(count):
        exchange = Exchange(f"request-{number}", "POST", started_at=now - 2)
        exchange.caller, exchange.status, exchange.sent_user = caller, 200, f"user-{number % 97}"
        exchange.feature = FEATURES[number % len(FEATURES)]
        exchange.deployment = DEPLOYMENTS[number % len(DEPLOYMENTS)]
        exchange.usage = Usage(900, 40)
        exchange.first_content_at, exchange.ended_at = now - 2 + number % 19 / 10, now
        made.append(exchange)
    return made


if __name__ == "__main__":
    main()
