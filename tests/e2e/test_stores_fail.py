"""PostgreSQL and Valkey stop, hang and come back: requests are served from what workers hold.

A network that refuses or hangs is what a stopped or unreachable server looks like; SIGSTOP makes a
hung one of a real server, in the middle of whatever it does.
"""

import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests import services
from tests.conftest import run_service
from tests.e2e.callers import CHAT, COMPLETION
from tests.e2e.conftest import Site, running_site
from tests.e2e.doctor_setups import examine
from tests.e2e.workers import workers
from tests.fakes.fault_proxy import FaultProxy

pytestmark = pytest.mark.slow

WORKERS = 2
REQUESTS = 30
#: What Redis in the way of a request would cost: its time-out is 0.2 s.
TYPICAL_S = 0.15
COMES_BACK_WITHIN_S = 15.0
PAGE_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Stores:
    """PostgreSQL and Valkey, each behind a network that can be broken."""

    postgres_url: str
    postgres_data: Path
    postgres: FaultProxy
    valkey_url: str
    valkey: FaultProxy

    def postgres_pids(self) -> list[int]:
        """Return the process ids of the postmaster and its children."""
        lines = (self.postgres_data / "cluster" / "postmaster.pid").read_text().splitlines()
        children = Path(f"/proc/{lines[0]}/task/{lines[0]}/children").read_text().split()
        return [int(lines[0]), *map(int, children)]

    def valkey_pids(self) -> list[int]:
        with redis.Redis.from_url(self.valkey_url) as client:
            information: Any = client.info("server")
        return [information["process_id"]]


@contextmanager
def hung(pids: list[int]) -> Iterator[None]:
    """Stop the processes, which keep their connections and answer nothing."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Yield servers of this module's own: other tests' would not like to be stopped."""
    folder = tmp_path_factory.mktemp("stores")
    for postgres_url in run_service(services.postgres, folder / "postgres"):
        for valkey_url in run_service(services.valkey, folder / "valkey"):
            with FaultProxy(postgres_url) as postgres, FaultProxy(valkey_url) as valkey:
                yield Stores(postgres_url, folder / "postgres", postgres, valkey_url, valkey)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Iterator[Site]:
    with running_site(
        tmp_path_factory.mktemp("site"),
        DATABASE_URL=f"postgres://postgres@127.0.0.1:{stores.postgres.port}/postgres",
        REDIS_URL=f"redis://127.0.0.1:{stores.valkey.port}/0",
        WEB_CONCURRENCY=str(WORKERS),
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _mend(stores: Stores) -> Iterator[None]:
    yield
    stores.postgres.heal()
    stores.valkey.heal()


def assert_served(site: Site) -> None:
    """Every request is answered well, and none waits for a store."""
    answers = [site.post(COMPLETION) for _ in range(REQUESTS)]

    assert {answer.status_code for answer in answers} == {200}
    assert statistics.median(answer.elapsed.total_seconds() for answer in answers) < TYPICAL_S


def assert_takes_changes(site: Site) -> None:
    """Every worker takes a new configuration, without a restart."""
    name = f"deployment-{time.monotonic_ns()}"
    row = {
        "name": name,
        "family": "general",
        "serving_format": "openai_chat",
        "endpoints": [site.models.path("other")],
        "model_identifier": "m",
    }
    site.gateway.apply([row], {"duo_chat": [name]}, workers=WORKERS)
    answers = [site.post(CHAT) for _ in range(10)]

    assert {answer.headers["X-Gitlab-Duo-Deployment"] for answer in answers} == {name}


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + COMES_BACK_WITHIN_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # other processes are waited for


def status(site: Site, path: str) -> int:
    """Return the status of a GET; 0 while nobody answers."""
    try:
        return httpx.get(site.url + path, timeout=PAGE_WITHIN_S).status_code
    except httpx.TransportError:
        return 0


# --- PostgreSQL ----------------------------------------------------------------------------------


def test_requests_are_served_while_postgres_is_stopped(site: Site, stores: Stores) -> None:
    stores.postgres.break_with("refuse")

    assert_served(site)
    until(lambda: len(site.gateway.log_events("configuration.unreadable")) >= WORKERS)
    assert_served(site)
    assert status(site, "/monitoring/ready") == 200

    stores.postgres.heal()
    assert_takes_changes(site)


def test_requests_are_served_while_postgres_is_hung(site: Site, stores: Stores) -> None:
    with hung(stores.postgres_pids()):
        assert_served(site)
        assert status(site, "/monitoring/ready") == 200

    assert_takes_changes(site)


@pytest.mark.parametrize("fault", ["refuse", "hang"])
def test_admin_says_that_the_database_is_away(site: Site, stores: Stores, fault: Any) -> None:
    stores.postgres.break_with(fault)

    response = httpx.get(
        f"{site.url}/admin/", cookies={"sessionid": "0" * 32}, timeout=PAGE_WITHIN_S
    )

    assert response.status_code == 503
    assert "The database is away" in response.text
    assert response.headers["Retry-After"] == "5"


def test_worker_that_starts_without_postgres_lives_and_is_not_ready(
    site: Site, stores: Stores
) -> None:
    stores.postgres.break_with("refuse")
    for worker in workers(site.gateway):
        os.kill(worker, signal.SIGKILL)

    until(lambda: status(site, "/monitoring/healthz") == 200)
    assert status(site, "/monitoring/ready") == 503
    assert site.post(COMPLETION).status_code == 503
    stores.postgres.heal()

    until(lambda: status(site, "/monitoring/ready") == 200)
    assert_takes_changes(site)


def test_postgres_that_vanishes_in_the_middle_of_a_query_is_given_up(site: Site) -> None:
    clocks = "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"
    printed = site.gateway.manage(
        "shell",
        "--verbosity=0",
        "-c",
        "import socket; from django.db import connection; connection.ensure_connection();"
        "opened = socket.socket(fileno=connection.connection.fileno());"
        f"print(*(opened.getsockopt(socket.SOL_TCP, getattr(socket, name)) for name in {clocks}));"
        "opened.detach()",
    )

    idle_s, interval_s, count = map(int, printed.split())
    assert idle_s + interval_s * count < COMES_BACK_WITHIN_S


# --- Valkey --------------------------------------------------------------------------------------


def test_requests_are_served_while_valkey_is_away(site: Site, stores: Stores) -> None:
    stores.valkey.break_with("refuse")

    assert_served(site)
    assert_takes_changes(site)  # by polling


def test_requests_are_served_while_valkey_is_hung(site: Site, stores: Stores) -> None:
    with hung(stores.valkey_pids()):
        assert_served(site)
        assert_takes_changes(site)
    assert_served(site)


def test_valkey_that_lost_everything_is_no_error(site: Site, stores: Stores) -> None:
    with redis.Redis.from_url(stores.valkey_url) as client:
        client.flushall()
    assert_served(site)

    stores.valkey.break_with("refuse")  # and restarted empty
    with redis.Redis.from_url(stores.valkey_url) as client:
        client.flushall()
    stores.valkey.heal()

    assert_served(site)


def told_by_doctor(site: Site) -> dict[tuple[str, str], str]:
    """Return the state of each thing by its check and name."""
    findings = json.loads(examine(site, "--json").stdout)["findings"]
    return {(item["check"], item["subject"]): item["state"] for item in findings}


def test_doctor_waits_for_no_store_behind_a_network_that_swallows_packets(
    site: Site, stores: Stores
) -> None:
    whole = told_by_doctor(site)
    for network in (stores.postgres, stores.valkey):
        network.break_with("black_hole")
    broken = told_by_doctor(site)

    database, store, worker = ("database",) * 2, ("redis", "Redis"), ("worker", "Celery worker")
    assert [whole[row] for row in (database, store, worker)] == ["ok", "ok", "failed"]
    assert whole["clock", "clock of the database"] == whole["clock", "clock of Redis"] == "ok"
    assert [broken[row] for row in (database, store, worker)] == ["failed", "failed", "skipped"]
