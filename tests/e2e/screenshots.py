"""Take a picture of every page, light and dark, narrow and wide: `make screenshots`.

Those of the README are taken anew too: what a wide screen shows of them at first.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from tests.e2e.admin_site import addresses, furnish, log_in, site_with_users
from tests.e2e.conftest import CHROMIUM_FLAGS, find_chromium
from tests.gateway_process import Gateway

THEMES = ("light", "dark")
WIDTHS = (400, 1280)
HEIGHT = 900
README_PAGES = ("home", "features", "deployment-test", "usage")
README_IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


async def picture(site: Gateway, folder: Path, only: str) -> None:
    wanted = only.split(",")
    pages = {
        name: url for name, url in addresses(site).items() if any(word in name for word in wanted)
    }
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(), args=[*CHROMIUM_FLAGS]
        )
        for theme in THEMES:
            for width in WIDTHS:
                await _picture_all(browser, site, pages, theme, width, folder)
        await browser.close()


async def _picture_all(
    browser: Browser, site: Gateway, pages: dict[str, str], theme: str, width: int, folder: Path
) -> None:
    context = await browser.new_context(
        viewport={"width": width, "height": HEIGHT},
        color_scheme="dark" if theme == "dark" else "light",
    )
    page = await context.new_page()
    await page.goto(f"{site.url}/admin/login/")
    await page.screenshot(path=folder / f"login-{theme}-{width}.png", full_page=True)
    await log_in(page, site)
    for name, url in pages.items():
        await page.goto(url)
        await page.screenshot(path=folder / f"{name}-{theme}-{width}.png", full_page=True)
        if name in README_PAGES and (theme, width) == ("light", 1280):
            await page.screenshot(path=README_IMAGES / f"{name}.png")
    await context.close()


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    with tempfile.TemporaryDirectory() as data, site_with_users(Path(data)) as site:
        furnish(site)
        asyncio.run(picture(site, folder, only))
    print(f"==> {len(list(folder.glob('*.png')))} pictures in {folder}")


if __name__ == "__main__":
    main()
