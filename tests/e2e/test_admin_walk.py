"""An instance admin registers a model server in the browser, assigns it, and sees it answer."""

import asyncio

import pytest
from playwright.async_api import Page, expect

from tests.e2e.callers import CHAT
from tests.e2e.conftest import Site
from tests.fakes.model_server import Script

PASSWORD = "a long pass phrase"


@pytest.fixture(scope="module")
def admin_url(site: Site) -> str:
    site.gateway.manage(
        "shell",
        "-c",
        "from django.contrib.auth import get_user_model as u;"
        f"u().objects.create_superuser('admin', password={PASSWORD!r})",
    )
    return f"{site.url}/admin/"


async def _log_in(page: Page, admin_url: str) -> None:
    await page.goto(admin_url)
    await page.fill("#id_username", "admin")
    await page.fill("#id_password", PASSWORD)
    await page.click("#login-form button")
    await expect(page.locator("h1", has_text="Home")).to_be_visible()


async def _add_deployment(page: Page, admin_url: str, site: Site, name: str, family: str) -> None:
    await page.goto(f"{admin_url}selfhosted_models/modeldeployment/add/")
    await page.fill("#id_name", name)
    await page.select_option("#id_family", family)
    await page.select_option("#id_serving_format", "openai_chat")
    await page.fill("#id_endpoints", site.models.endpoint)
    await page.fill("#id_model_identifier", "fake-model")
    await page.fill("#id_api_key", "sk-browser-canary-0123456789")
    await page.click("input[name=_save]")


async def test_from_nothing_to_an_answer(site: Site, admin_url: str, page: Page) -> None:
    site.models.answer_with(Script())
    await _log_in(page, admin_url)

    await _add_deployment(page, admin_url, site, "browser-gpu", "mixtral-8x7b-instruct")
    await expect(page.locator(".messagelist")).to_contain_text("was added successfully")
    await page.goto(f"{admin_url}feature_config/featuresetting/duo_chat/change/")
    before = site.gateway.configuration()
    await page.select_option(
        "#id_answered_by",
        label="browser-gpu (Mixtral 8x7B Instruct: to be evaluated)",
    )
    await page.click("input[name=_save]")
    await expect(page.locator(".messagelist")).to_contain_text("changed successfully")
    await _until_served(site, before)
    response = site.post(CHAT)

    assert response.json()["choices"][0]["message"]["content"] == "Hello, world!"
    assert site.gateway.finished(response.headers["X-Request-ID"])["deployment"] == "browser-gpu"
    assert site.models.exchanges[-1].headers["authorization"].endswith("canary-0123456789")


async def test_a_real_model_from_its_url_to_its_answer(
    site: Site, admin_url: str, page: Page, small_llm_url: str
) -> None:
    await _log_in(page, admin_url)
    before = site.gateway.configuration()

    await page.goto(f"{admin_url}selfhosted_models/modeldeployment/add/")
    await page.fill("#pasted_url", small_llm_url.removesuffix("/v1"))
    await page.get_by_role("button", name="Ask the server").click()
    await page.get_by_role("link", name="Use this").first.click()
    await expect(page.locator("#id_endpoints")).to_have_value(small_llm_url)
    await page.fill("#id_name", "real")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator(".messagelist")).to_contain_text("was added successfully")
    await _until_served(site, before)

    before = site.gateway.configuration()
    await page.goto(f"{admin_url}feature_config/featuresetting/")
    row = page.locator("#git_suggestions")
    await row.locator("select").first.select_option(
        label="real (General (OpenAI-compatible): not on the supported list)"
    )
    await row.get_by_role("button", name="Save Git Suggestions").click()
    await expect(row.locator(".feature-standing")).to_contain_text("real answers")
    await _until_served(site, before)

    await page.goto(f"{admin_url}playground/?feature=git_suggestions")
    await page.click("#ask")
    await expect(page.locator("#text")).not_to_be_empty(timeout=60_000)
    await expect(page.locator("#asked")).to_contain_text("real")


async def test_the_playground_answers_with_the_keyboard_alone(
    site: Site, admin_url: str, page: Page
) -> None:
    site.models.answer_with(Script(chunks=("git ", "reset ", "--soft")))
    site.gateway.apply([], {"git_suggestions": ["fake"]})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await _log_in(page, admin_url)
    await page.goto(f"{admin_url}playground/?feature=git_suggestions")

    await page.focus("#id_input-prompt")
    await page.keyboard.press("Control+a")
    await page.keyboard.type("undo <b>it</b>")
    await page.keyboard.press("Control+Enter")

    await expect(page.locator("#state")).to_have_text("Done.")
    await expect(page.locator("#text")).to_have_text("git reset --soft")
    await expect(page.locator("#answer-title")).to_be_focused()
    await expect(page.locator("#timings")).to_contain_text("Tokens out")
    await expect(page.locator("#asked")).to_contain_text("undo <b>it</b>")
    assert "undo <b>it</b>" in str(site.models.exchanges[-1].json)
    assert complaints == []


async def test_an_answer_is_stopped_and_a_failure_told(
    site: Site, admin_url: str, page: Page
) -> None:
    site.models.answer_with(Script(chunks=("on ", "and "), never_ends=True, gap_s=0.05))
    await _log_in(page, admin_url)
    await page.goto(f"{admin_url}playground/?feature=git_suggestions&deployment=fake")

    await page.click("#ask")
    await expect(page.locator("#text")).to_contain_text("on and and")
    await page.keyboard.press("Escape")
    await expect(page.locator("#state")).to_contain_text("Stopped.")
    assert await asyncio.to_thread(site.models.exchanges[-1].closed_by_peer.wait, 10)

    site.models.answer_with(Script(status=401, body=b"who are you, secretly?"))
    await page.click("#ask")
    await expect(page.locator("#state")).to_contain_text("No answer (upstream_rejected)")
    assert "secretly" not in await page.content()


async def test_a_family_that_is_not_supported_is_greyed_out(
    site: Site, admin_url: str, page: Page
) -> None:
    await _log_in(page, admin_url)
    await _add_deployment(page, admin_url, site, "browser-mistral", "mistral-7b")

    await page.goto(f"{admin_url}feature_config/featuresetting/code_completions/change/")

    options = await page.locator("#id_answered_by option").all_inner_texts()
    assert options[:2] == ["Unassigned: no choice yet", "Inactive: refused to everyone"]
    assert [option for option in options if "browser-mistral" in option] == [
        "browser-mistral (Mistral 7B is not supported here)"
    ]
    greyed = page.locator("#id_answered_by option:disabled", has_text="browser-mistral")
    assert await greyed.count() == 1


async def test_an_inactive_feature_is_refused(site: Site, admin_url: str, page: Page) -> None:
    await _log_in(page, admin_url)
    await page.goto(f"{admin_url}feature_config/featuresetting/duo_chat/change/")
    before = site.gateway.configuration()

    await page.select_option("#id_answered_by", "inactive")
    await page.click("input[name=_save]")
    await _until_served(site, before)
    response = site.post(CHAT)
    site.gateway.apply([], {"duo_chat": ["fake"]})

    assert response.status_code == 403
    assert response.json()["error"]["code"] == "feature_inactive"


async def test_the_key_never_comes_back(site: Site, admin_url: str, page: Page) -> None:
    await _log_in(page, admin_url)
    await _add_deployment(page, admin_url, site, "browser-key", "general")

    await page.click("text=browser-key")
    await expect(page.locator("body")).to_contain_text("A key ending in 6789 is stored")

    assert "canary" not in await page.content()


async def _until_served(site: Site, before: str) -> None:
    for _ in range(100_000):
        if site.gateway.configuration() != before:
            return
    raise AssertionError("the gateway did not take the change")
