"""Evaluations by the processes that carry them out: the command, the gateway, a Celery worker."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SUITE
from tests.fakes.model_server import ModelServer, Script
from tests.gateway_process import Gateway, gateway
from tests.services import REPOSITORY, running

pytestmark = pytest.mark.slow

GOOD = Script(chunks=("git", " log"))
#: Answers a part, and then nothing until it is cut off.
STUCK = Script(chunks=("git", " log"), stall=1)
ENDS_WITHIN_S = 30

_START = """
from gateway.audit import Attribution, Origin
from feature_config.catalogue import Feature
from gateway.evaluation.jobs import start_evaluation
from gateway.evaluation.runs import EvaluationRequest
request = EvaluationRequest(Feature.GIT_SUGGESTIONS, suite_path={path!r})
print(start_evaluation(request, Attribution("dana", Origin.COMMAND)).pk)
"""
_STATE = """
SELECT state, done_cases, passed_cases, attempts FROM prompts_evaluationrun WHERE id = ?
"""
_CANCEL = """
from gateway.audit import Attribution, Origin
from gateway.evaluation.jobs import cancel_evaluation
from prompts.models import EvaluationRun
cancel_evaluation(EvaluationRun.objects.get(pk={pk}), Attribution("dana", Origin.COMMAND))
"""
#: As if half a minute had gone by, and the scheduler's turn had come.
_AGE_AND_SWEEP = """
from django.utils import timezone
from gateway.background import run_in_background
from gateway.tasks import sweep_evaluations
from prompts.models import EvaluationRun
EvaluationRun.objects.filter(pk={pk}).update(lease_until=timezone.now())
run_in_background(sweep_evaluations)
"""

_ASK_WORKER = """
from gateway.doctor.checkup import CHECKS, examine
from gateway.doctor.patient import Patience, Patient
checks = {name: CHECKS[name] for name in ("redis", "worker")}
*_, worker = examine(Patient(patience=Patience(worker_s=5)), checks)
print(f"{worker.state}: {worker.evidence}")
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A configured site whose gateway does not run.

    Attributes:
        gateway: For its commands.
        folder: Where a gateway can be started again.
        suite: Path of a suite with three cases.
    """

    gateway: Gateway
    folder: Path
    suite: Path
    models: ModelServer

    def shell(self, code: str, **env: str) -> str:
        """Run Python code with the site's settings and return the last line it printed."""
        configured = Gateway(self.gateway.url, {**self.gateway.env, **env}, self.gateway.service)
        printed = configured.manage("shell", "-v0", "-c", code).strip()
        return printed.splitlines()[-1] if printed else ""

    def state(self, pk: str) -> tuple[Any, ...]:
        """Return state, cases done, cases passed and attempts of a run."""
        with closing(sqlite3.connect(self.folder / "data" / "db.sqlite3")) as database:
            found: tuple[Any, ...] = database.execute(_STATE, [pk]).fetchone()
        return found

    def wait_for(self, pk: str, state: str) -> tuple[Any, ...]:
        deadline = time.monotonic() + ENDS_WITHIN_S
        while (found := self.state(pk))[0] != state:
            assert time.monotonic() < deadline, found
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("evaluation")
    suite = folder / "ours.yml"
    suite.write_text(SUITE)
    with ModelServer() as models:
        deployment = {
            "name": "fake",
            "family": "general",
            "serving_format": "openai_chat",
            "endpoints": [models.endpoint],
            "model_identifier": "fake-model",
            "max_in_flight": 1,
        }
        with gateway(folder) as started:
            started.apply([deployment], {"git_suggestions": ["fake"]})
        yield Site(started, folder, suite, models)


@pytest.fixture(autouse=True)
def _forget_requests(site: Site) -> None:
    site.models.exchanges.clear()


def prompts_sent(site: Site) -> list[str]:
    return [
        next(part for part in ("undo", "list", "stash") if part in asked)
        for asked in (
            exchange.json["messages"][-1]["content"] for exchange in site.models.exchanges
        )
    ]


def test_ctrl_c_cancels_and_resume_goes_on(site: Site) -> None:
    site.models.answer_with(GOOD, STUCK, GOOD)
    command = [sys.executable, "manage.py", "evaluate", "--suite", str(site.suite)]
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=dict(site.gateway.env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stuck = site.models.wait_for_request(1, timeout_s=ENDS_WITHIN_S)

    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=ENDS_WITHIN_S)

    assert process.returncode == 1
    assert "Cancelled." in told
    assert stuck.closed_by_peer.wait(5)
    pk = told.partition("--resume ")[2].partition("`")[0]
    assert site.state(pk)[:3] == ("cancelled", 1, 1)

    assert "3 of 3 pass" in site.gateway.manage("evaluate", "--resume", pk)
    assert prompts_sent(site) == ["undo", "list", "list", "stash"]


def test_gateway_without_redis_takes_up_what_was_left(site: Site) -> None:
    site.models.answer_with(GOOD)
    pk = site.shell(_START.format(path=str(site.suite)))  # its process ends before it begins

    with gateway(site.folder) as started:
        deadline = time.monotonic() + ENDS_WITHIN_S
        while not (ended := started.log_events("evaluation.ended")):
            assert time.monotonic() < deadline, started.log()

    assert (str(ended[0]["run"]), ended[0]["state"]) == (pk, "finished")
    assert site.state(pk)[:3] == ("finished", 3, 3)


@pytest.fixture(scope="module")
def celery_worker(site: Site, valkey_url: str) -> Iterator[int]:
    """A worker as operators start it; yields its process id."""
    env = {**site.gateway.env, "REDIS_URL": valkey_url}
    command = [sys.executable, "-m", "celery", "-A", "gateway", "worker", "--concurrency=1"]
    with running(
        [*command, "--loglevel=INFO"],
        ready_line="ready.",
        env=env,
        log_path=site.folder / "celery.log",
    ) as worker:
        yield worker.process.pid


def test_celery_worker_carries_out_cancels_and_survives_a_killed_child(
    site: Site, celery_worker: int, valkey_url: str
) -> None:
    def start() -> str:
        return site.shell(_START.format(path=str(site.suite)), REDIS_URL=valkey_url)

    site.models.answer_with(GOOD, STUCK, GOOD)
    cancelled = start()
    stuck = site.models.wait_for_request(1, timeout_s=ENDS_WITHIN_S)
    site.shell(_CANCEL.format(pk=cancelled))
    assert stuck.closed_by_peer.wait(5)
    assert site.wait_for(cancelled, "cancelled")[1:3] == (1, 1)

    site.models.exchanges.clear()
    site.models.answer_with(GOOD, STUCK, GOOD)
    killed = start()
    stuck = site.models.wait_for_request(1, timeout_s=ENDS_WITHIN_S)
    _kill_child(celery_worker)
    assert stuck.closed_by_peer.wait(5)
    site.shell(_AGE_AND_SWEEP.format(pk=killed), REDIS_URL=valkey_url)

    assert site.wait_for(killed, "finished") == ("finished", 3, 3, 2)
    assert prompts_sent(site) == ["undo", "list", "list", "stash"]


def test_doctor_tells_a_worker_that_works_from_one_that_hangs(
    site: Site, celery_worker: int, valkey_url: str
) -> None:
    def told() -> str:
        return site.shell(_ASK_WORKER, REDIS_URL=valkey_url)

    working = told()
    os.kill(celery_worker, signal.SIGSTOP)
    try:
        hanging = told()
    finally:
        os.kill(celery_worker, signal.SIGCONT)

    assert working == "ok: did what it was asked"
    assert hanging == "failed: nothing was done within 5 s"


def _kill_child(parent: int) -> None:
    """Kill the process that runs the task, as the kernel does when memory runs out."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)
