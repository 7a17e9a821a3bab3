"""A whole site for tests, and a browser for those that walk through pages."""

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright

from tests.conftest import unavailable
from tests.e2e.callers import CALLS, SCOPES, Call
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer
from tests.gateway_process import Gateway, gateway

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
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        unavailable("Chromium is not installed; on Debian: apt-get install chromium")
    return Path(found)


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
        headers: Of Rails, with a token for every scope the calls need.
    """

    gateway: Gateway
    gitlab: GitLab
    models: ModelServer
    headers: dict[str, str]

    @property
    def url(self) -> str:
        return self.gateway.url

    def post(self, call: Call, **changes: Any) -> httpx.Response:
        body = {**call.body, **changes}
        return httpx.post(self.url + call.path, json=body, headers=self.headers, timeout=60)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site where one deployment, of a family every feature takes, answers every call."""
    folder = tmp_path_factory.mktemp("site")
    with (
        GitLab() as instance,
        ModelServer() as models,
        gateway(
            folder,
            AIGW_GITLAB_URL=instance.url,
            # All tests of a file are one user to it, and many let its model server fail.
            USER_MAX_IN_FLIGHT="0",
            USER_REQUESTS_PER_MINUTE="0",
            BREAKER_FAILURES="0",
        ) as running,
    ):
        deployment = {
            "name": "fake",
            "family": "general",
            "serving_format": "openai_chat",
            "endpoints": [models.endpoint],
            "model_identifier": "fake-model",
            "api_key": "sk-canary-0123456789abcdef",
            "first_token_timeout_s": 1.5,
            "idle_timeout_s": 2,
            "total_timeout_s": 20,
        }
        running.apply([deployment], {call.feature: ["fake"] for call in CALLS})
        yield Site(
            running, instance, models, instance.headers(instance.mint(SCOPES), x_request_id=None)
        )
