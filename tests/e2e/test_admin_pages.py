"""The admin pages in a real browser: what an admin does there, and whether everybody can."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from django_otp.oath import totp
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.e2e.admin_site import ADMIN, DOCUMENTATION, addresses, furnish, log_in, site_with_users
from tests.e2e.conftest import CHROMIUM_FLAGS, SUITE
from tests.fakes.model_server import ModelServer, Script
from tests.fakes.package_registry import PackageRegistryServer
from tests.gateway_process import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEATURES = "/admin/feature_config/featuresetting/"
DEPLOYMENTS = "/admin/selfhosted_models/modeldeployment/"


@pytest.fixture(scope="module")
def docs_registry() -> Iterator[PackageRegistryServer]:
    with PackageRegistryServer() as server:
        yield server


@pytest.fixture(scope="module")
def empty_site(
    tmp_path_factory: pytest.TempPathFactory, docs_registry: PackageRegistryServer
) -> Iterator[Gateway]:
    with site_with_users(
        tmp_path_factory.mktemp("admin"),
        DOCS_REGISTRY_URL=docs_registry.url,
        DOCS_REGISTRY_TOKEN=docs_registry.token,
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=[*CHROMIUM_FLAGS])
        yield browser
        await browser.close()


async def new_page(browser: Browser, **options: object) -> tuple[Page, list[str]]:
    """Return a page of a fresh profile, and what its console complains about."""
    context = await browser.new_context(**options)  # type: ignore[arg-type]
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    return page, complaints


_sessions: dict[str, Any] = {}


async def inside(
    browser: Browser, site: Gateway, user: str = ADMIN, **options: object
) -> tuple[Page, list[str]]:
    """Return a page of somebody who is logged in; each user logs in once."""
    if user not in _sessions:
        page, _ = await new_page(browser)
        await log_in(page, site, user)
        await expect(page.locator("h1")).to_have_text("Home")
        _sessions[user] = await page.context.storage_state()
    return await new_page(browser, storage_state=_sessions[user], **options)


async def violations(page: Page, *rules: str) -> list[str]:
    """Return what axe objects to, of those rules or of all."""
    found = await Axe().run(page, options={"runOnly": [*rules]} if rules else None)
    return [
        f"{one['id']}: {node['html'][:160]}"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]


async def messages(page: Page) -> str:
    return await page.locator(".messagelist").inner_text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def first_run(empty_site: Gateway, browser: Browser) -> dict[str, tuple[str, list[str]]]:
    """What the pages say, and axe of them, before there is anything; then the site is furnished."""
    page, _ = await inside(browser, empty_site)
    seen = {}
    for path in ("/admin/", FEATURES, DEPLOYMENTS):
        await page.goto(empty_site.url + path)
        seen[path] = (await page.locator("main").inner_text(), await violations(page))
    furnish(empty_site)
    return seen


@pytest.fixture(scope="module")
def site(empty_site: Gateway, first_run: object) -> Gateway:
    return empty_site


async def test_who_begins_is_told_what_to_do_first(
    first_run: dict[str, tuple[str, list[str]]],
) -> None:
    assert [told for _, told in first_run.values()] == [[], [], []]
    home, features, deployments = (text for text, _ in first_run.values())
    assert "First steps" in home
    assert "Add a deployment" in home
    assert "No deployment yet" in features
    assert "Add model deployment" in deployments


async def test_choices_are_saved_previewed_and_undone(site: Gateway, browser: Browser) -> None:
    page, complaints = await inside(browser, site)

    # One row: chosen, saved, told, undone.
    await page.goto(site.url + FEATURES)
    row = page.locator("#root_cause_analysis")
    await row.locator("select[name=answered_by]").select_option(
        label="codegemma-gpu1 (CodeGemma 7B IT: to be evaluated)"
    )
    await row.get_by_role("button", name="Save Root cause analysis").click()
    assert "Saved. Root cause analysis: codegemma-gpu1 (before: Unassigned)" in await messages(page)
    await expect(row.locator(".feature-standing")).to_contain_text("codegemma-gpu1 answers")
    assert await violations(page) == []
    await page.get_by_role("button", name="Undo this change").click()
    assert "Taken back. Root cause analysis: Unassigned." in await messages(page)

    # Several: ticked, previewed, confirmed.
    await page.locator("#tick-all").check()
    await page.locator("#bulk-target").select_option(label="mistral-spare")
    await page.get_by_role("button", name="Preview the change").click()
    await expect(page.locator("h1")).to_have_text("What would change")
    await expect(page.locator("body")).to_contain_text(
        "Code Completion does not support Mistral 7B"
    )
    assert await violations(page) == []
    await page.get_by_role("button", name=re.compile("Change .* features")).click()
    await expect(page.locator("#discussion_summary .feature-standing")).to_contain_text(
        "mistral-spare answers"
    )
    await page.get_by_role("button", name="Undo this change").click()
    await expect(page.locator("#discussion_summary .feature-standing")).to_contain_text(
        "unassigned"
    )

    # The matrix leads to a cell, the cell to a choice.
    await page.get_by_role("link", name="Support matrix").click()
    await page.get_by_role("link", name=re.compile("^Code Generation with Mistral 7B")).click()
    await page.get_by_role("button", name="Let it answer").click()
    assert "Saved. Code Generation: mistral-spare" in await messages(page)
    assert complaints == []


async def test_a_deployment_is_added_by_its_url_tested_and_saved(
    site: Gateway, browser: Browser, model_server: ModelServer
) -> None:
    page, complaints = await inside(browser, site)
    findings = page.locator(".findings").first

    # A wrong suffix, and a server that wants a key.
    model_server.answer_with(Script.error(401))
    await page.goto(f"{site.url}{DEPLOYMENTS}add/")
    await page.fill("#pasted_url", f"{model_server.url}/v1/chat/completions")
    await page.get_by_role("button", name="Ask the server").click()
    await expect(findings).to_contain_text("wants an API key: enter it and ask again")
    model_server.answer_with(Script())
    await page.fill("#pasted_api_key", "sk-of-the-test")
    await page.get_by_role("button", name="Ask the server").click()
    await expect(findings).to_contain_text(f"Register it as {model_server.endpoint}.")
    assert await violations(page) == []

    # One click fills the form in; it is tested as it is, and nothing typed is lost.
    await page.get_by_role("link", name="Use this").click()
    await expect(page.locator("#id_endpoints")).to_have_value(model_server.endpoint)
    await page.fill("#id_name", "by-url")
    await page.get_by_role("button", name="Test connection").click()
    await expect(page.locator("#test-findings")).to_contain_text("The server answers.")
    assert await violations(page) == []
    assert model_server.exchanges[-1].headers["authorization"] == "Bearer sk-of-the-test"

    await page.get_by_role("button", name="Save", exact=True).click()
    assert "by-url” was added successfully" in await messages(page)
    assert complaints == []


async def test_a_test_of_a_server_that_hangs_is_watched_and_cancelled(
    site: Gateway, browser: Browser, model_server: ModelServer
) -> None:
    page, _ = await inside(browser, site)
    model_server.answer_with(Script(stall="before_headers"))
    await page.goto(f"{site.url}{DEPLOYMENTS}add/")
    await page.fill("#id_name", "hangs")
    await page.fill("#id_endpoints", model_server.endpoint)
    await page.fill("#id_model_identifier", "m")
    await page.locator("#id_family").select_option("general")
    await page.locator("#id_serving_format").select_option("openai_chat")

    await page.get_by_role("button", name="Test connection").click()
    await expect(page.locator("#test-findings")).to_contain_text("Asking the server")
    await page.locator("#test-findings").get_by_role("button", name="Cancel").click()

    await expect(page.locator("#test-findings")).to_contain_text("Cancelled.")
    exchange = model_server.wait_for_request()
    assert await asyncio.to_thread(exchange.closed_by_peer.wait, 5)
    await expect(page.locator("#id_name")).to_have_value("hangs")


async def test_two_models_are_evaluated_watched_cancelled_and_compared(
    site: Gateway, browser: Browser, model_server: ModelServer
) -> None:
    good, bad = Script(chunks=("git", " log")), Script(chunks=("no idea",))
    stuck = Script(chunks=("git", " log"), stall=1)
    first = _evaluated("eval-good", model_server.path("good", good, stuck))
    second = _evaluated("eval-bad", model_server.path("bad", bad))
    site.apply([first, second])
    suites = Path(site.env["DATA_DIR"]) / "suites"
    suites.mkdir(exist_ok=True)
    (suites / "ours.yml").write_text(SUITE)
    page, complaints = await inside(browser, site)

    # One click asks both the same cases; how far they are shows without loading the page again.
    await page.goto(f"{site.url}/admin/evaluations/")
    await page.locator("#id_feature").select_option("git_suggestions")
    await page.locator("#id_deployment").select_option("eval-good")
    await page.locator("#id_beside").select_option("eval-bad")
    await page.locator("#id_suite").select_option("ours")
    await page.get_by_role("button", name="Start").click()
    await expect(page.locator("h1")).to_have_text("Git Suggestions, side by side")
    together = page.url
    await page.evaluate("window.stayed = true")
    rows = page.locator("#progress tbody tr")
    await expect(rows.first).to_contain_text("1 of 3 (1 asked)", timeout=20_000)
    assert await page.evaluate("window.stayed")
    assert await violations(page) == []

    # What is left is cancelled; the model server is not left generating.
    await page.get_by_role("button", name="Cancel all that is left").click()
    await expect(rows.nth(1)).to_contain_text("Cancelled")
    exchange = model_server.wait_for_request(1, base="good")
    assert await asyncio.to_thread(exchange.closed_by_peer.wait, 5)

    # Each goes on where it stopped, and its page becomes that of its verdict by itself.
    model_server.path("good", good)
    for number, verdict in ((0, "passed"), (1, "missed the bar")):
        await page.goto(together)
        await rows.nth(number).get_by_role("link").click()
        await page.get_by_role("button", name="Go on").click()
        badges = page.locator("#progress .counts")
        await expect(badges).to_contain_text(verdict, timeout=20_000)
    asked = [one.json["messages"][-1]["content"] for one in model_server.exchanges_at("good")]
    assert sum("undo my last commit" in text for text in asked) == 1
    await expect(page.locator("main")).to_contain_text("-100% (-100% to -100%)")

    await page.goto(together)
    await expect(page.locator("main")).to_contain_text("-100% (-100% to -100%)")
    assert await violations(page) == []
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download the report").click()
    report = (await (await download.value).path()).read_text()
    assert "eval-good" in report
    assert "paired bootstrap" in report

    # The cell of the matrix says so, and leads back.
    await page.get_by_role("link", name="Support matrix").click()
    await page.get_by_role("link", name=re.compile("^Git Suggestions with General")).click()
    await page.get_by_role("link", name=re.compile("^passed on")).click()
    await expect(page.locator("h1")).to_have_text("Git Suggestions on eval-good")
    assert complaints == []


def _evaluated(name: str, endpoint: str) -> dict[str, Any]:
    return {
        "name": name,
        "family": "general",
        "serving_format": "openai_chat",
        "endpoints": [endpoint],
        "model_identifier": "fake-model",
        "max_in_flight": 1,
    }


async def test_two_admins_at_one_row_lose_nothing(site: Gateway, browser: Browser) -> None:
    mine, _ = await inside(browser, site)
    theirs, _ = await inside(browser, site, "editor")
    for page in (mine, theirs):
        await page.goto(site.url + FEATURES)
    row = "#issue_description_generation"

    await theirs.locator(f"{row} select[name=answered_by]").select_option("inactive")
    await theirs.locator(f"{row} button").click()
    await mine.locator(f"{row} select[name=answered_by]").select_option(index=2)
    await mine.locator(f"{row} button").click()

    await expect(mine.locator(row)).to_contain_text("editor changed answered by of Issue")
    kept = await mine.locator(f"{row} select[name=answered_by]").input_value()
    assert len(kept) == 36  # the deployment that was chosen, not what the colleague made of it
    await mine.locator(f"{row} button").click()
    await expect(mine.locator(f"{row} .feature-standing")).to_contain_text("active")


async def test_history_is_compared_and_gone_back_to_and_verified(
    site: Gateway, browser: Browser
) -> None:
    page, complaints = await inside(browser, site)
    await page.goto(f"{site.url}/admin/history/")
    await page.get_by_role("link", name="4", exact=True).click()  # before any feature was assigned
    await page.get_by_role("button", name="Go back to revision 4").click()
    await expect(page.locator(".changes")).to_contain_text("GitLab Duo Chat")
    await expect(page.locator("main")).to_contain_text("Nothing is changed yet.")

    await page.fill("#reason", "A clean start")
    await page.get_by_role("button", name="Make these").click()
    assert "Restored revision 4." in await messages(page)
    made = int((await page.locator("h1").inner_text()).removeprefix("Revision "))
    await page.goto(f"{site.url}/admin/history/{made - 1}/")
    await page.get_by_role("button", name=f"Go back to revision {made - 1}").click()
    await page.get_by_role("button", name="Make these").click()

    await page.goto(f"{site.url}/admin/audit/?action=feature&author={ADMIN}")
    await expect(page.locator("table")).to_contain_text("A clean start")
    await page.get_by_role("button", name="Verify the whole history").click()
    await expect(page.get_by_role("status").nth(1)).to_contain_text("as they were written")
    assert complaints == []


async def test_what_is_broken_is_told_at_home_and_explained(
    site: Gateway, browser: Browser
) -> None:
    page, complaints = await inside(browser, site, "viewer")
    problem = page.locator(".problems li", has_text="general-old")
    await page.goto(f"{site.url}/admin/")
    await expect(problem).to_contain_text("connection refused")
    await problem.get_by_role("link").click()
    await expect(page.locator("h1")).to_have_text("View model deployment")
    await expect(page.locator("main")).to_contain_text("general-old")

    # Gate by gate: the first that is shut, and what to do about it.
    await page.get_by_role("link", name="Explain").click()
    await page.get_by_label("Feature").select_option("suggested_reviewers")
    await page.get_by_label("User").fill("alice")
    await page.get_by_role("button", name="Explain").click()
    await expect(page.locator("h2").first).to_contain_text("would be refused")
    await expect(page.locator(".gates li.bad")).to_contain_text("Is the feature switched on?")
    await expect(page.locator("main")).to_contain_text("What to do:")
    await page.get_by_label("Feature").select_option("code_explanation")
    await page.get_by_role("button", name="Explain").click()
    await expect(page.locator("main table")).to_contain_text("codegemma-gpu1")
    assert await violations(page) == []
    assert complaints == []


async def test_failed_requests_are_found_from_the_charts(site: Gateway, browser: Browser) -> None:
    page, complaints = await inside(browser, site, "viewer")
    await page.goto(f"{site.url}/admin/")
    await page.get_by_role("link", name="The last hour").click()

    # The picture has its numbers behind it, for the keyboard too.
    chart = page.get_by_role("figure", name="Requests", exact=True)
    await expect(chart.get_by_role("img").first).to_be_visible()
    await chart.locator("summary").focus()
    await page.keyboard.press("Enter")
    await expect(chart.get_by_role("table")).to_be_visible()
    assert await violations(page) == []

    await page.get_by_label("Deployment", exact=True).select_option("general-old")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator(".key-figures")).to_contain_text("100 %")
    await page.get_by_role("link", name="Requests one by one").click()
    await expect(page.locator("tbody tr").first).to_contain_text("general-old")
    await page.locator("tbody details summary").first.click()
    await expect(page.locator("tbody tr").first).to_contain_text("check that the server runs")
    assert complaints == []


@pytest.mark.timeout(400)  # some thirty pages, each judged twice
async def test_every_page_is_usable_by_everyone(site: Gateway, browser: Browser) -> None:
    narrow: Any = {"width": 400, "height": 800}
    page, complaints = await inside(browser, site, viewport=narrow)
    found = {}

    for name, url in addresses(site).items():
        await page.emulate_media(color_scheme="light")
        await page.goto(url)
        found[name] = await violations(page)
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 400, f"{name} is wider than the screen"
        await page.emulate_media(color_scheme="dark")
        found[f"{name} in the dark"] = await violations(page, "color-contrast")

    assert {name: told for name, told in found.items() if told} == {}
    assert [told for told in complaints if "404" not in told] == []  # one page is not there


async def test_roles_see_and_do_what_is_theirs(site: Gateway, browser: Browser) -> None:
    page, _ = await inside(browser, site, "promoted")
    await page.goto(site.url + FEATURES)
    assert await page.locator("select, .content button").count() == 0
    await page.goto(f"{site.url}/admin/auth/user/")
    await expect(page.locator("h1")).to_have_text("Your role does not allow this")

    page, _ = await inside(browser, site, "officer")
    await page.goto(f"{site.url}/admin/auth/user/")
    await page.locator("#result_list").get_by_role("link", name="promoted", exact=True).click()
    await page.get_by_label("editor: changes what is registered").check()
    await page.get_by_role("button", name="Save", exact=True).click()
    assert "was changed successfully" in await messages(page)


async def test_wrong_passwords_lock_out(site: Gateway, browser: Browser) -> None:
    page, _ = await new_page(browser)
    for _ in range(5):
        await page.goto(f"{site.url}/admin/login/")
        await page.fill("#id_username", "nobody")
        await page.fill("#id_password", "guess")
        await page.click("#login-form button")

    await expect(page.locator("h1")).to_have_text("Too many wrong passwords")
    assert await violations(page) == []


async def test_theme_is_chosen_and_kept_and_keyboard_reaches_the_content(
    site: Gateway, browser: Browser
) -> None:
    page, _ = await inside(browser, site)
    await page.goto(f"{site.url}/admin/")
    for _ in range(2):
        await page.locator(".theme-toggle").click()
    await page.reload()
    assert await page.evaluate("document.documentElement.dataset.theme") == "dark"

    await page.keyboard.press("Tab")
    await expect(page.locator(".skip-link")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()


async def test_a_second_factor_is_set_up_by_its_key(site: Gateway, browser: Browser) -> None:
    page, complaints = await inside(browser, site, "viewer")
    await page.goto(f"{site.url}/admin/second-factor/")
    await expect(page.locator(".qr svg")).to_be_visible()
    key = (await page.locator(".key").inner_text()).replace(" ", "")

    await page.fill("#id_code", f"{totp(_bytes_of(key)):06d}")
    await page.get_by_role("button", name="Set up").click()
    await page.goto(f"{site.url}/admin/second-factor/")

    await expect(page.locator(".content")).to_contain_text("Each login asks for a code")
    assert complaints == []


def _bytes_of(key: str) -> bytes:
    return base64.b32decode(key + "=" * (-len(key) % 8))


async def test_documentation_is_fetched_at_a_click_searched_and_watched(
    site: Gateway, browser: Browser, tmp_path: Path
) -> None:
    index = str(tmp_path / "docs.sqlite3")
    site.manage(
        "build_docs_index", str(DOCUMENTATION), "--gitlab-version", "17.5.0", "--output", index
    )
    site.manage("publish_docs_index", index)
    page, complaints = await inside(browser, site)

    await page.goto(f"{site.url}/admin/documentation/")
    await page.get_by_role("button", name="Check now").click()
    await expect(page.locator("#looks")).to_contain_text("up to date", timeout=30_000)

    await page.get_by_label("Ask as Duo Chat does").fill("craete a board")
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_contain_text("Showing results for create a board")
    await expect(page.locator("main")).to_contain_text("of GitLab 17.5.0")

    await page.goto(f"{site.url}/admin/documentation/questions/")
    await page.get_by_label("xylophone").check()
    await page.get_by_role("button", name="Ticked ones are dealt with").click()
    assert "1 off the worklist" in await messages(page)
    await page.get_by_role("textbox", name="Question").fill("register a runner")
    await page.get_by_role("textbox", name="Page").fill("ci/runners.md")
    await page.get_by_role("button", name="Add", exact=True).click()
    assert "Added" in await messages(page)
    assert complaints == []
