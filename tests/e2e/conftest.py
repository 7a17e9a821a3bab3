"""A browser for tests that walk through pages."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright

from tests.conftest import unavailable

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
