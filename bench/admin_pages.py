#!/usr/bin/env python
"""Server time of every admin page on a large site, on SQLite and on PostgreSQL.

    .venv/bin/python bench/admin_pages.py
    .venv/bin/python bench/admin_pages.py --only sqlite

The site has 50 deployments, 100,000 rows of requests and a year of usage by hour. Each page is
asked for in process, through every middleware, several times. Told are the best and the median, the
median of this process's CPU time (on a shared machine the one to compare), and the queries.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEPLOYMENTS = 50
REQUESTS = 100_000
DAYS = 365
#: Features and deployments that requests of an hour go to.
WAYS = 60
TIMES = 7
LIMIT_MS = 200
CHUNK = 2_000


def fill() -> None:
    """Make the site."""
    from django.db import connection

    from feature_config.catalogue import Feature
    from feature_config.models import FeatureSetting
    from gateway.models import LoggedRequest, SliceLength, UsageSlice
    from selfhosted_models.models import EndpointHealth, EndpointHealthChange, ModelDeployment

    draw, now = random.Random(7), datetime.now(UTC)
    rows = [
        ModelDeployment.objects.create(
            name=f"gpu-{number:02}",
            family="codegemma-7b-it",
            serving_format="openai_chat",
            endpoints=[f"http://10.0.{number}.{last}:8000/v1" for last in (1, 2)],
            model_identifier="model",
        )
        for number in range(DEPLOYMENTS)
    ]
    settings = [*FeatureSetting.objects.all()]
    for number, setting in enumerate(settings):
        setting.assign(rows[number % DEPLOYMENTS : number % DEPLOYMENTS + 3])
    for row in rows:
        for url in row.endpoints:
            place = {"deployment": row, "url": url}
            EndpointHealth.objects.create(**place, state="healthy", since=now, heard_at=now)
            EndpointHealthChange.objects.bulk_create(
                EndpointHealthChange(
                    **place,
                    state=draw.choice(["healthy", "down"]),
                    at=now - timedelta(hours=draw.uniform(0, 200)),
                )
                for _ in range(50)
            )
    features = [feature.value for feature in Feature]
    ways = [(draw.choice(features), draw.choice(rows).name) for _ in range(WAYS)]
    ways = [*dict.fromkeys(ways)]
    LoggedRequest.objects.bulk_create(
        (
            logged(draw, now - timedelta(seconds=12 * (REQUESTS - n)), *draw.choice(ways))
            for n in range(REQUESTS)
        ),
        batch_size=CHUNK,
    )
    columns = ("length_s", "start", "feature", "deployment", *UsageSlice.COUNTS)
    insert = (  # our own names only
        f"INSERT INTO {UsageSlice._meta.db_table} ({', '.join(columns)}) "
        f"VALUES ({', '.join(['%s'] * len(columns))})"
    )
    for length_s, back in (
        (SliceLength.FIVE_MINUTES, timedelta(days=2)),
        (SliceLength.HOUR, timedelta(days=DAYS)),
        (SliceLength.DAY, timedelta(days=DAYS)),
        (SliceLength.WEEK, timedelta(days=DAYS)),
    ):
        counts = [[draw.randrange(9) for _ in UsageSlice.COUNTS] for _ in range(97)]
        batch = []
        with connection.cursor() as cursor:
            for start in starts(now, back, length_s):
                told = connection.ops.adapt_datetimefield_value(start)
                batch += [(length_s, told, *way, *draw.choice(counts)) for way in ways]
                if len(batch) >= CHUNK:
                    cursor.executemany(insert, batch)
                    batch = []
            cursor.executemany(insert, batch)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def starts(now: datetime, back: timedelta, length_s: int) -> Iterator[datetime]:
    from gateway.models import SliceLength

    last = SliceLength(length_s).start_of(now)
    for number in range(int(back.total_seconds()) // length_s):
        yield last - number * timedelta(seconds=length_s)


def logged(draw: random.Random, at: datetime, feature: str, deployment: str) -> Any:
    from gateway.models import LoggedRequest

    ending = draw.choices(("answered", "failed", "cancelled"), (90, 2, 8))[0]
    return LoggedRequest(
        ended_at=at,
        request_id=f"{draw.getrandbits(128):032x}",
        route="v2/code/completions",
        status=200,
        ending=ending,
        outcome="ok",
        feature=feature,
        deployment=deployment,
        attempts=1,
        user_hash=f"{draw.randrange(500):016x}",
        queued_ms=0,
        first_token_ms=draw.randrange(100, 900),
        total_ms=draw.randrange(900, 9000),
        input_tokens=900,
        output_tokens=40,
    )


def pages() -> dict[str, str]:
    """Return the path of each page: those that browsers test, and some with filters."""
    from selfhosted_models.models import ModelDeployment
    from tests.e2e.admin_site import PAGES

    known = {name: f"/admin/{path}" for name, path in PAGES.items()}
    more = {
        "usage-week": "/admin/usage/?span=week",
        "usage-year": "/admin/usage/?span=year",
        "usage-quarter": "/admin/usage/?span=quarter",
        "usage of one": "/admin/usage/?span=week&feature=duo_chat&deployment=gpu-07",
        "requests of one user": "/admin/usage/requests/?user=nobody",
        "requests of one": "/admin/usage/requests/?feature=duo_chat&ending=failed",
        "requests, an outcome nobody met": "/admin/usage/requests/?outcome=nothing",
        "request by id": "/admin/usage/requests/?request_id=nothing",
    }
    deployment = str(ModelDeployment.objects.values_list("pk", flat=True)[0])
    return {
        name: path.format(deployment=deployment) for name, path in sorted({**known, **more}.items())
    }


def measure() -> None:
    """Ask for every page, and print a line of the table for each."""
    import django
    from django.core.management import call_command

    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    settings.ALLOWED_HOSTS = ["testserver"]
    call_command("migrate", verbosity=0)
    fill()
    admin = User.objects.create_superuser("bench", password=None)
    client = Client()
    client.force_login(admin)
    for name, path in pages().items():
        with CaptureQueriesContext(connection) as queries:
            status = client.get(path).status_code  # warms up, and counts
            asked = len(queries)  # the next request begins a new list
        if status != 200:  # about something that only the browser tests' site has
            continue
        wall_ms, cpu_ms = [], []
        for _ in range(TIMES):
            began, cpu_began = time.perf_counter(), time.process_time()
            client.get(path)
            wall_ms.append((time.perf_counter() - began) * 1000)
            cpu_ms.append((time.process_time() - cpu_began) * 1000)
        mark = " **over**" if min(wall_ms) > LIMIT_MS else ""
        figures = (min(wall_ms), statistics.median(wall_ms), statistics.median(cpu_ms))
        cells = " | ".join(f"{ms:.0f}" for ms in figures)
        print(f"| {name}{mark} | {cells} | {asked} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Server time of the admin pages.")
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if arguments.child:
        measure()
        return
    from tests import services

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        urls = {"sqlite": f"sqlite:///{folder}/db.sqlite3"}
        if arguments.only != "sqlite":
            urls["postgres"] = stack.enter_context(services.postgres(folder / "postgres"))
        for name in [arguments.only] if arguments.only else urls:
            print(f"\n{name}\n\n| page | best, ms | median, ms | CPU, ms | queries |", flush=True)
            print("|---|---|---|---|---|", flush=True)
            own = {
                "DATA_DIR": str(folder / name),
                "DATABASE_URL": urls[name],
                "DJANGO_SETTINGS_MODULE": "gateway.settings",
                "TOTP_REQUIRED": "0",
                "LOG_LEVEL": "ERROR",
            }
            subprocess.run([sys.executable, __file__, "--child"], env=os.environ | own, check=True)


if __name__ == "__main__":
    main()
