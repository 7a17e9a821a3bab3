"""Four workers share the slots of one deployment: its server never sees more than its cap."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.callers import COMPLETION
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer, Script
from tests.gateway_process import Gateway, gateway

CAP = 8
WORKERS = 4
REQUESTS = 60


@pytest.fixture(scope="module")
def instance() -> Iterator[GitLab]:
    with GitLab() as running:
        yield running


@pytest.fixture(params=["redis", "alone"])
def four_workers(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    valkey_url: str,
    instance: GitLab,
    model_server: ModelServer,
) -> Iterator[Gateway]:
    with gateway(
        tmp_path_factory.mktemp("workers"),
        REDIS_URL=valkey_url if request.param == "redis" else "",
        WEB_CONCURRENCY=str(WORKERS),
        AIGW_GITLAB_URL=instance.url,
        USER_MAX_IN_FLIGHT="0",
        USER_REQUESTS_PER_MINUTE="0",
        QUEUE_SIZE=str(REQUESTS),
        QUEUE_MAX_WAIT_S="30",
    ) as running:
        deployment = {
            "name": "scarce",
            "family": "codegemma-7b-it",
            "serving_format": "openai_text",
            "endpoints": [model_server.endpoint],
            "model_identifier": "codegemma",
            "max_in_flight": CAP,
        }
        running.apply([deployment], {"code_completions": ["scarce"]}, workers=WORKERS)
        yield running


async def test_the_model_server_never_sees_more_than_the_cap(
    four_workers: Gateway, instance: GitLab, model_server: ModelServer
) -> None:
    model_server.answer_with(Script(gap_s=0.04))
    headers = instance.headers(instance.mint(["complete_code"]), x_request_id=None)

    async with httpx.AsyncClient(
        base_url=four_workers.url, headers=headers, timeout=60, limits=httpx.Limits()
    ) as client:
        answers = await asyncio.gather(
            *(client.post(COMPLETION.path, json=COMPLETION.streamed()) for _ in range(REQUESTS))
        )

    assert [answer.status_code for answer in answers] == [200] * REQUESTS
    assert CAP // 2 < model_server.most_in_flight <= CAP
    assert model_server.in_flight == 0
