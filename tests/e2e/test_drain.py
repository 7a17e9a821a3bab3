"""SIGTERM: what is under way ends well, or is told that it did not; the gateway exits with 0."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.e2e.callers import CALLS, CHAT, COMPLETION, Call, leaving_client
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer, Script
from tests.gateway_process import Gateway, gateway

EXITS_WITHIN_S = 15


@pytest.fixture
def stopping(
    tmp_path_factory: pytest.TempPathFactory, gitlab: GitLab, model_server: ModelServer
) -> Iterator[Gateway]:
    """Yield a gateway that gives requests a second to end when it is stopped."""
    with gateway(
        tmp_path_factory.mktemp("stopping"), AIGW_GITLAB_URL=gitlab.url, DRAIN_S="1"
    ) as running:
        deployment = {
            "name": "fake",
            "family": "general",
            "serving_format": "openai_chat",
            "endpoints": [model_server.endpoint],
            "model_identifier": "fake-model",
        }
        running.apply([deployment], {call.feature: ["fake"] for call in CALLS})
        yield running


@pytest.fixture(scope="module")
def gitlab() -> Iterator[GitLab]:
    with GitLab() as running:
        yield running


def headers(gitlab: GitLab, call: Call) -> dict[str, str]:
    return gitlab.headers(gitlab.mint([call.scope]), x_request_id=None)


def test_what_is_under_way_ends_or_is_told(
    stopping: Gateway, gitlab: GitLab, model_server: ModelServer
) -> None:
    ends, hangs, silent = Script(stall=2), Script(stall=3), Script(stall="before_headers")
    model_server.answer_with(ends, hangs, silent)
    asked = [(CHAT, True), (CHAT, True), (COMPLETION, False)]
    with ExitStack() as stack:
        connections, exchanges = [], []
        for number, (call, stream) in enumerate(asked):
            client = leaving_client(stopping.url, call, headers(gitlab, call), stream=stream)
            connections.append(stack.enter_context(client))
            exchanges.append(model_server.wait_for_request(number))

        stopping.service.process.send_signal(signal.SIGTERM)
        exchanges[0].release()
        ended, broken_off = (item.getresponse().read().decode() for item in connections[:2])
        refused = connections[2].getresponse()
        exit_code = stopping.service.process.wait(timeout=EXITS_WITHIN_S)

    assert "world" in ended
    assert "error" not in ended
    assert '"code":"server_shutting_down"' in broken_off
    assert broken_off.endswith("data: [DONE]\n\n")
    assert refused.status == httpx.codes.SERVICE_UNAVAILABLE
    assert refused.getheader("Retry-After") == "2"
    assert '"code":"server_shutting_down"' in refused.read().decode()
    assert exit_code == 0
    assert exchanges[1].closed_by_peer.wait(1)
    assert exchanges[2].closed_by_peer.wait(1)
