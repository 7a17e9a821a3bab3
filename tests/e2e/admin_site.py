"""A site as its pages are looked at: some of all there is, and everyone who may log in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.async_api import Page

from tests.gateway_process import Gateway, gateway

PASSWORD = "seven brown bicycles"
ADMIN = "admin"

#: Name -> path of each page below /admin/; `{deployment}` is one that features use.
PAGES = {
    "home": "",
    "features": "feature_config/featuresetting/",
    "feature": "feature_config/featuresetting/duo_chat/change/",
    "matrix": "feature_config/featuresetting/matrix/",
    "matrix-cell": "feature_config/featuresetting/matrix/duo_chat/mixtral-8x7b-instruct/",
    "deployments": "selfhosted_models/modeldeployment/",
    "deployment": "selfhosted_models/modeldeployment/{deployment}/change/",
    "deployment-add": "selfhosted_models/modeldeployment/add/",
    "deployment-delete": "selfhosted_models/modeldeployment/{deployment}/delete/",
    "explain": "explain/?feature=test_generation",
    "history": "history/",
    "revision": "history/1/",
    "revision-difference": "history/1/difference/",
    "audit": "audit/",
    "users": "auth/user/",
    "user-add": "auth/user/add/",
    "password": "password_change/",
    "second-factor": "second-factor/",
    "not-found": "there-is-no-such-page/",
}

_USERS = f"""
from django.contrib.auth.models import Group, User
User.objects.create_superuser({ADMIN!r}, password={PASSWORD!r})
for role in Group.objects.all():
    user = User.objects.create_user(role.name.split()[-1], password={PASSWORD!r}, is_staff=True)
    user.groups.add(role)
"""
_HEALTH = """
from django.utils import timezone
from selfhosted_models.models import EndpointHealth, ModelDeployment
now = timezone.now()
states = {
    "codegemma-gpu1": ("healthy", ""),
    "mixtral-gpu2": ("degraded", "3 of the last 20 requests failed."),
    "general-old": ("down", "It cannot be reached: connection refused."),
}
for name, (state, reason) in states.items():
    row = ModelDeployment.objects.get(name=name)
    for url in row.endpoints:
        EndpointHealth.objects.create(
            deployment=row, url=url, state=state, reason=reason, since=now, heard_at=now
        )
"""


def _deployment(name: str, family: str, address: str, **more: object) -> dict[str, object]:
    return {
        "name": name,
        "family": family,
        "serving_format": "openai_chat",
        "endpoints": [f"http://{address}:8000/v1"],
        "model_identifier": family,
        **more,
    }


def furnish(site: Gateway) -> None:
    """Register four deployments and assign them so that every state shows."""
    site.apply(
        [
            _deployment("codegemma-gpu1", "codegemma-7b-it", "10.0.4.11", context_tokens=8192),
            _deployment(
                "mixtral-gpu2", "mixtral-8x7b-instruct", "10.0.4.12", api_key="sk-" + "x" * 24
            ),
            _deployment("mistral-spare", "mistral-7b", "10.0.4.13"),
            _deployment("general-old", "general", "10.0.4.14"),
        ],
        {
            "code_completions": ["codegemma-gpu1"],
            "code_generations": ["mixtral-gpu2", "codegemma-gpu1"],
            "duo_chat": ["mixtral-gpu2", "mistral-spare"],
            "code_explanation": ["codegemma-gpu1"],
            "test_generation": ["general-old"],
            "merge_request_summary": ["mixtral-gpu2"],
            "suggested_reviewers": "inactive",
        },
    )
    site.manage("shell", "-c", _HEALTH)


@contextmanager
def site_with_users(folder: Path, **settings: str) -> Iterator[Gateway]:
    """Run a gateway with a user of each role (`viewer`, `editor`, `officer`) and an admin."""
    with gateway(folder, **settings) as running:
        running.manage("shell", "-c", _USERS)
        yield running


async def log_in(page: Page, site: Gateway, user: str = ADMIN) -> None:
    await page.goto(f"{site.url}/admin/login/?next=/admin/")
    await page.fill("#id_username", user)
    await page.fill("#id_password", PASSWORD)
    await page.click("#login-form button")


def addresses(site: Gateway) -> dict[str, str]:
    """Return the URL of each page of `PAGES`."""
    deployment = site.manage(
        "shell",
        "-v0",
        "-c",
        "from selfhosted_models.models import ModelDeployment as m;"
        "print(m.objects.get(name='mixtral-gpu2').pk)",
    ).split()[-1]
    return {
        name: f"{site.url}/admin/{path.format(deployment=deployment)}"
        for name, path in PAGES.items()
    }
