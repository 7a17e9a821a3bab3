"""What Prometheus sees of two workers, on a port where nothing else is."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.callers import CHAT
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer, Script
from tests.gateway_process import Gateway, gateway

REQUESTS = 12
SEEN_WITHIN_S = 10


@pytest.fixture(scope="module")
def instance() -> Iterator[GitLab]:
    with GitLab() as running:
        yield running


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, instance: GitLab
) -> Iterator[tuple[Gateway, ModelServer]]:
    with (
        ModelServer() as models,
        gateway(
            tmp_path_factory.mktemp("measured"), AIGW_GITLAB_URL=instance.url, WEB_CONCURRENCY="2"
        ) as running,
    ):
        deployment = {
            "name": "fake",
            "family": "general",
            "serving_format": "openai_chat",
            "endpoints": [models.endpoint],
            "model_identifier": "fake-model",
            "max_in_flight": 8,
        }
        running.apply([deployment], {"duo_chat": ["fake"]}, workers=2)
        yield running, models


def metrics(running: Gateway) -> dict[str, float]:
    page = httpx.get(f"http://{running.env['METRICS_BIND']}/metrics").text
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_any_worker_answers_for_all(
    measured: tuple[Gateway, ModelServer], instance: GitLab
) -> None:
    running, models = measured
    models.answer_with(Script(usage=(7, 4)))
    headers = instance.headers(instance.mint([CHAT.scope]), x_request_id=None)
    for _ in range(REQUESTS):  # a connection each: the kernel spreads them over the workers
        httpx.post(running.url + CHAT.path, json=CHAT.body, headers=headers)
    httpx.post(running.url + CHAT.path, json=CHAT.body)

    by = 'deployment="fake",feature="duo_chat"'
    seen: dict[str, float] = {}
    deadline = time.monotonic() + SEEN_WITHIN_S
    # Both are sampled once a second; each worker holds half of the slots.
    sampled = 'duo_slots{deployment="fake"}', 'duo_in_flight{deployment="fake"}'
    while [seen.get(name) for name in sampled] != [8, 0] and time.monotonic() < deadline:
        seen = metrics(running)

    assert seen[f'duo_requests_total{{{by},outcome="ok"}}'] == REQUESTS
    assert seen['duo_requests_total{deployment="",feature="",outcome="token_refused"}'] >= 1
    tokens = 'duo_tokens_total{deployment="fake",direction="input",feature="duo_chat"}'
    assert seen[tokens] == 7 * REQUESTS
    assert seen[f"duo_first_content_seconds_count{{{by}}}"] == REQUESTS
    assert [seen[name] for name in sampled] == [8, 0]
    assert seen["duo_worker_in_flight"] == 0


def test_each_port_serves_its_own(measured: tuple[Gateway, ModelServer]) -> None:
    running, _ = measured
    own = f"http://{running.env['METRICS_BIND']}"

    assert httpx.get(f"{own}/monitoring/healthz").status_code == httpx.codes.NOT_FOUND
    assert httpx.get(f"{own}/admin/").status_code == httpx.codes.NOT_FOUND
    assert httpx.get(f"{running.url}/metrics").status_code == httpx.codes.UNAUTHORIZED
