"""On a real PostgreSQL, with a real Valkey telling two workers that something changed."""

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.e2e.callers import COMPLETION
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer
from tests.gateway_process import Gateway, gateway

#: So long that only the hint can explain a change that arrives.
NEVER_POLLS_S = "3600"
#: Each worker writes every five seconds or so.
COUNTED, COUNTED_WITHIN_S = 30, 20


@pytest.fixture(scope="module")
def instance() -> Iterator[GitLab]:
    with GitLab() as running:
        yield running


@pytest.fixture(scope="module")
def big_gateway(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_url: str,
    valkey_url: str,
    instance: GitLab,
) -> Iterator[Gateway]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE e2e")
    with gateway(
        tmp_path_factory.mktemp("big"),
        DATABASE_URL=postgres_url.removesuffix("/postgres") + "/e2e",
        REDIS_URL=valkey_url,
        CONFIGURATION_POLL_S=NEVER_POLLS_S,
        WEB_CONCURRENCY="2",
        AIGW_GITLAB_URL=instance.url,
    ) as running:
        yield running


def test_a_change_reaches_every_worker_by_its_hint(
    big_gateway: Gateway, instance: GitLab, model_server: ModelServer
) -> None:
    deployment = {
        "name": "fake",
        "family": "codegemma-7b-it",
        "serving_format": "openai_text",
        "endpoints": [model_server.endpoint],
        "model_identifier": "codegemma",
    }

    big_gateway.apply([deployment], {"code_completions": ["fake"]}, workers=2)
    statuses = {_complete(big_gateway, instance).status_code for _ in range(20)}

    assert statuses == {200}


def test_the_database_refuses_a_cell_that_is_not_supported(
    big_gateway: Gateway, postgres_url: str
) -> None:
    deployment = {
        "name": "mistral",
        "family": "mistral-7b",
        "serving_format": "openai_chat",
        "endpoints": ["http://10.0.0.1:8000/v1"],
        "model_identifier": "mistral",
    }
    big_gateway.apply([deployment], workers=2)
    insert = """
        INSERT INTO feature_config_featurechoice (position, family, deployment_id, setting_id)
        SELECT 5, family, id, 'code_completions'
        FROM selfhosted_models_modeldeployment WHERE name = 'mistral'
    """

    with (
        psycopg.connect(postgres_url.removesuffix("/postgres") + "/e2e") as connection,
        pytest.raises(psycopg.errors.CheckViolation),
    ):
        connection.execute(insert)


@pytest.mark.parametrize("ours", ["database", "valkey", "gateway"])
def test_what_is_ours_is_never_dialled(
    big_gateway: Gateway, instance: GitLab, postgres_url: str, valkey_url: str, ours: str
) -> None:
    urls = {"database": postgres_url, "valkey": valkey_url, "gateway": big_gateway.url}
    name = f"our-{ours}"
    deployment = {
        "name": name,
        "family": "codegemma-7b-it",
        "serving_format": "openai_text",
        "endpoints": [f"http://127.0.0.1:{urlsplit(urls[ours]).port}/v1"],
        "model_identifier": "codegemma",
    }
    big_gateway.apply([deployment], {"code_completions": [name]}, workers=2)

    answer = _complete(big_gateway, instance)

    assert (answer.status_code, answer.json()["code"]) == (503, "endpoint_refused")
    assert "this installation's own" in answer.json()["detail"]


def _complete(running: Gateway, instance: GitLab) -> httpx.Response:
    headers = instance.headers(instance.mint(["complete_code"]))
    return httpx.post(running.url + COMPLETION.path, json=COMPLETION.body, headers=headers)


def test_counts_of_both_workers_add_up(
    big_gateway: Gateway, instance: GitLab, postgres_url: str, model_server: ModelServer
) -> None:
    deployment = {
        "name": "counted",
        "family": "codegemma-7b-it",
        "serving_format": "openai_text",
        "endpoints": [model_server.endpoint],
        "model_identifier": "codegemma",
    }
    big_gateway.apply([deployment], {"code_completions": ["counted"]}, workers=2)

    for _ in range(COUNTED):  # a connection each: the kernel spreads them over the workers
        assert _complete(big_gateway, instance).status_code == httpx.codes.OK

    found: tuple[object, ...] | None = None
    deadline = time.monotonic() + COUNTED_WITHIN_S
    while found != (COUNTED, COUNTED) and time.monotonic() < deadline:
        with psycopg.connect(postgres_url.removesuffix("/postgres") + "/e2e") as connection:
            found = connection.execute(
                """
                SELECT (SELECT sum(answered) FROM gateway_usageslice
                        WHERE length_s = 86400 AND deployment = 'counted'),
                       (SELECT count(*) FROM gateway_loggedrequest WHERE deployment = 'counted')
                """
            ).fetchone()
    assert found == (COUNTED, COUNTED)
