"""Workers that die, wedge or get a new configuration, while the others serve on."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, IncompleteRead

import pytest

from tests.e2e.callers import CHAT, leaving_client
from tests.e2e.conftest import Site, running_site
from tests.e2e.workers import stopped, workers
from tests.fakes.model_server import Exchange, Script

pytestmark = pytest.mark.slow

WORKERS = 2
#: gunicorn replaces a worker that says nothing for so long; 30 s unless told otherwise.
WEDGED_AFTER_S = 4
REPLACED_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(
        tmp_path_factory.mktemp("workers"),
        deployment={"idle_timeout_s": 60, "total_timeout_s": 120},
        WEB_CONCURRENCY=str(WORKERS),
        GUNICORN_CMD_ARGS=f"--timeout={WEDGED_AFTER_S}",
    ) as running:
        yield running


@contextmanager
def replacing(site: Site, pid: int) -> Iterator[None]:
    """Return, after the block, once another worker serves in the place of this one."""
    starts = len(site.gateway.log_events("configuration.loaded"))
    yield
    deadline = time.monotonic() + REPLACED_WITHIN_S
    while len(site.gateway.log_events("configuration.loaded")) == starts:
        assert time.monotonic() < deadline, "no new worker has started"
        time.sleep(0.05)  # another process is waited for
    assert pid not in workers(site.gateway)
    assert len(workers(site.gateway)) == WORKERS


def begin_stream(site: Site, stack: ExitStack) -> tuple[HTTPConnection, Exchange]:
    """Begin a stream that the model server does not end before it is released."""
    seen = len(site.models.exchanges_at(""))
    site.models.answer_with(Script(stall=2))
    client = stack.enter_context(leaving_client(site.url, CHAT, site.headers, stream=True))
    return client, site.models.wait_for_request(seen)


def statuses(site: Site, count: int = 20) -> set[int]:
    """Return the statuses of as many requests, each on a connection of its own."""
    site.models.answer_with(Script())
    return {site.post(CHAT).status_code for _ in range(count)}


def test_worker_that_is_killed_takes_only_its_own_requests_along(site: Site) -> None:
    dying, living = workers(site.gateway)
    with replacing(site, dying), ExitStack() as stack:
        with stopped(living):
            lost, _ = begin_stream(site, stack)
        with stopped(dying):
            kept, exchange = begin_stream(site, stack)
        answer = lost.getresponse()  # the stream is under way

        os.kill(dying, signal.SIGKILL)
        with pytest.raises((IncompleteRead, ConnectionError)):
            answer.read()
        assert statuses(site) == {200}
        exchange.release()
        whole = kept.getresponse().read().decode()

    assert "world" in whole
    assert whole.endswith("data: [DONE]\n\n")
    with stopped(living):  # so that the new one has to answer
        assert site.post(CHAT).status_code == 200


def test_worker_that_is_wedged_is_replaced(site: Site) -> None:
    wedged, other = workers(site.gateway)
    with replacing(site, wedged):
        os.kill(wedged, signal.SIGSTOP)
        assert statuses(site) == {200}

    assert other in workers(site.gateway)
    assert statuses(site) == {200}


def test_running_streams_keep_the_configuration_they_began_with(site: Site) -> None:
    new = {
        "name": "new",
        "family": "general",
        "serving_format": "openai_chat",
        "endpoints": [site.models.path("new")],
        "model_identifier": "new-model",
    }
    with ExitStack() as stack:
        client, exchange = begin_stream(site, stack)
        running = client.getresponse()

        site.gateway.apply([new], {"duo_chat": ["new"]}, workers=WORKERS)
        answers = [site.post(CHAT) for _ in range(20)]
        exchange.release()
        whole = running.read().decode()
    site.gateway.apply([], {"duo_chat": ["fake"]}, workers=WORKERS)

    assert {answer.headers["X-Gitlab-Duo-Deployment"] for answer in answers} == {"new"}
    assert running.getheader("X-Gitlab-Duo-Deployment") == "fake"
    assert "world" in whole
    assert whole.endswith("data: [DONE]\n\n")
