"""The configuration as a file, on the real server with a real PostgreSQL."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import httpx
import psycopg
import pytest

from gateway.audit import LOCK_ID
from tests.gateway_process import Gateway, gateway
from tests.services import REPOSITORY, free_port

DOCUMENT = """\
version: 1
deployments:
  - name: gpu1
    family: codegemma-7b-it
    serving_format: openai_text
    endpoints: ["http://10.0.4.11:8000/v1"]
    model_identifier: {model}
    api_key: {{env: GPU1_KEY}}
features:
  code_completions: gpu1
"""


@pytest.fixture(scope="module")
def database(postgres_url: str) -> str:
    """The URL of a database of our own on PostgreSQL."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE configuration")
    return postgres_url.removesuffix("/postgres") + "/configuration"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("configuration")
    with gateway(folder, DATABASE_URL=database, GPU1_KEY="sk-one") as started:
        yield started


def start(env: Mapping[str, str], *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=REPOSITORY,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_applied_revision_is_what_the_gateway_says_it_serves(
    running: Gateway, tmp_path: Path
) -> None:
    path = tmp_path / "config.yml"
    path.write_text(DOCUMENT.format(model="codegemma"))

    applied = json.loads(running.manage("config", "apply", "--json", str(path)))
    digest = applied["revision"]["digest"]
    ready = httpx.get(running.url + "/readyz")
    while ready.json()["configuration"] != digest:  # pytest's time-out ends it
        ready = httpx.get(running.url + "/readyz")

    assert ready.headers["X-Gitlab-Duo-Configuration"] == digest
    assert running.finished(ready.headers["X-Request-ID"])["configuration"] == digest
    assert httpx.get(running.url + "/livez").status_code == 200


def test_documents_applied_at_once_come_one_after_the_other(
    running: Gateway, database: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        applying = []
        for number in range(2):
            path = tmp_path / f"{number}.yml"
            path.write_text(DOCUMENT.format(model=f"model-{number}"))
            applying.append(stack.enter_context(start(running.env, "config", "apply", str(path))))
        errors = [process.communicate()[1] for process in applying]

    assert [process.returncode for process in applying] == [0, 0], errors
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT number FROM gateway_revision ORDER BY number").fetchall()
    assert [number for (number,) in rows] == list(range(1, len(rows) + 1))
    assert json.loads(running.manage("verify_audit", "--json"))["problems"] == []


def test_change_that_must_wait_too_long_is_refused_and_not_made(
    running: Gateway, database: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yml"
    path.write_text(DOCUMENT.format(model="not-made"))

    with psycopg.connect(database) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_ID])
        with start(running.env, "config", "apply", str(path)) as applying:
            error = applying.communicate()[1]

    assert applying.returncode == 1
    assert "Another change of the configuration is being saved" in error
    assert "Traceback" not in error
    assert "not-made" not in running.manage("config", "export")


def test_output_for_machines_has_nothing_else_in_it(running: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(DOCUMENT.format(model="with-redis-down"))
    env = {**running.env, "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}

    with start(env, "config", "apply", "--json", str(path)) as applying:
        printed, logged = applying.communicate()

    assert json.loads(printed)["revision"]
    assert "change_hint.not_sent" in logged


@pytest.mark.parametrize("table", ["gateway_auditrecord", "gateway_revision"])
@pytest.mark.parametrize(
    "statement", ["UPDATE {} SET author = 'eve'", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
)
def test_database_refuses_to_rewrite_history(
    running: Gateway, database: str, table: str, statement: str
) -> None:
    with (
        psycopg.connect(database) as connection,
        pytest.raises(psycopg.errors.RestrictViolation, match="is append-only"),
    ):
        connection.execute(statement.format(table))


def test_triggers_can_be_taken_off_and_put_back(running: Gateway, database: str) -> None:
    migration = import_module("gateway.migrations.0002_append_only_triggers")
    with psycopg.connect(database) as connection:
        editor = SimpleNamespace(
            connection=SimpleNamespace(vendor="postgresql"),
            execute=lambda statement, params=None: connection.execute(statement),
        )

        migration.drop_triggers(None, editor)
        connection.execute("UPDATE gateway_revision SET author = author")
        migration.create_triggers(None, editor)

        with pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute("UPDATE gateway_revision SET author = author")
        connection.rollback()
