"""A whole site for tests, and a browser for those that walk through pages."""

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright

from tests.conftest import unavailable
from tests.e2e.callers import CALLS, SCOPES, Call
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer, Script
from tests.gateway_process import Gateway, gateway

#: Of a site's own: three cases that an answer with `git` in it passes.
SUITE = """
version: 1.0.0
feature: git_suggestions
bar: 1
cases:
  - {id: undo, inputs: {prompt: undo my last commit}, checks: {mentions: [git]}}
  - {id: list, inputs: {prompt: list branches}, checks: {mentions: [git]}}
  - {id: stash, inputs: {prompt: stash my work}, checks: {mentions: [git]}}
"""
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
# Without a sandbox, because root has none; the others keep Chromium from calling home, which on a
# closed network fails many times a second.
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The system's Chromium; Playwright's own would have to be downloaded."""
    found = find_chromium()
    if found is None:
        unavailable("Chromium is not installed; on Debian: apt-get install chromium")
    return found


def find_chromium() -> Path | None:
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    return Path(found) if found else None


@pytest_asyncio.fixture
async def page(chromium: Path) -> AsyncIterator[Page]:
    """A page of a fresh browser, with an empty profile.

    The test is async: Playwright's synchronous API occupies the event loop that async tests need.
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=[*CHROMIUM_FLAGS], headless=True
        )
        yield await browser.new_page()
        await browser.close()


@dataclass(frozen=True, slots=True)
class Site:
    """A customer's site: GitLab, a gateway that trusts it, and a model server.

    Attributes:
        network: Between the gateway and the model server.
        headers: Of Rails, with a token for every scope the calls need.
    """

    gateway: Gateway
    gitlab: GitLab
    models: ModelServer
    network: FaultProxy
    headers: dict[str, str]

    @property
    def url(self) -> str:
        return self.gateway.url

    def post(self, call: Call, **changes: Any) -> httpx.Response:
        body = {**call.body, **changes}
        return httpx.post(self.url + call.path, json=body, headers=self.headers, timeout=60)

    def logged(self, response: httpx.Response) -> dict[str, Any]:
        """Return the log event of the request that `response` answers."""
        return self.gateway.finished(response.headers["X-Request-ID"])


@contextmanager
def running_site(
    folder: Path, *, deployment: Mapping[str, Any] | None = None, **settings: str
) -> Iterator[Site]:
    """Run a site where one deployment, of a family every feature takes, answers every call.

    All tests of a file are one user to it, and many let its model server fail: there are no quotas
    and no circuits, unless `settings` say otherwise.

    Args:
        deployment: Replaces fields of the deployment.
    """
    limits = {"USER_MAX_IN_FLIGHT": "0", "USER_REQUESTS_PER_MINUTE": "0", "BREAKER_FAILURES": "0"}
    settings = {**limits, **settings}
    with (
        GitLab() as instance,
        ModelServer() as models,
        FaultProxy(models.url) as network,
        gateway(folder, AIGW_GITLAB_URL=instance.url, **settings) as running,
    ):
        row = {
            "name": "fake",
            "family": "general",
            "serving_format": "openai_chat",
            "endpoints": [f"{network.url}/v1"],
            "model_identifier": "fake-model",
            "api_key": "sk-canary-0123456789abcdef",
            "first_token_timeout_s": 1.5,
            "idle_timeout_s": 2,
            "total_timeout_s": 20,
            **(deployment or {}),
        }
        running.apply(
            [row],
            {call.feature: ["fake"] for call in CALLS},
            workers=int(settings.get("WEB_CONCURRENCY", "1")),
        )
        headers = instance.headers(instance.mint(SCOPES), x_request_id=None)
        yield Site(running, instance, models, network, headers)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(autouse=True)
def _heal(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no fault of the shared network, and no script, to the next test."""
    yield
    if "site" in request.fixturenames:
        shared = request.getfixturevalue("site")
        if isinstance(shared, Site):  # some modules have a site of their own making
            shared.network.heal()
            shared.models.answer_with(Script())
