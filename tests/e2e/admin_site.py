"""A site as its pages are looked at: some of all there is, and everyone who may log in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.async_api import Page

from tests.gateway_process import Gateway, gateway

PASSWORD = "seven brown bicycles"
ADMIN = "admin"
#: Of two evaluations that were asked for together.
BATCH = "6f1c3b52-9f0e-4d5a-8f6e-2f9a1d0c7b34"

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
    "deployment-add-asked": "selfhosted_models/modeldeployment/add/?probe=2&suggestion=0",
    "deployment-test": "selfhosted_models/modeldeployment/probes/1/",
    "deployment-delete": "selfhosted_models/modeldeployment/{deployment}/delete/",
    "playground": "playground/?feature=code_generations",
    "explain": "explain/?feature=test_generation",
    "history": "history/",
    "revision": "history/1/",
    "revision-difference": "history/1/difference/",
    "audit": "audit/",
    "usage": "usage/",
    "requests": "usage/requests/",
    "evaluations": "evaluations/",
    "evaluation": "evaluations/3/?with=1",
    "evaluations-together": f"evaluations/together/{BATCH}/",
    "prompts": "prompts/",
    "prompt": "prompts/code_explanation/mistral-7b/?to_family=codegemma-2b",
    "documentation": "documentation/",
    "documentation-search": "documentation/search/?q=craete+a+board",
    "documentation-questions": "documentation/questions/",
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
promoted = User.objects.create_user("promoted", password={PASSWORD!r}, is_staff=True)
promoted.groups.add(Group.objects.get(name="viewer"))
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
_PROBES = f"""
from datetime import timedelta
from django.utils import timezone
from selfhosted_models.models import (
    DeploymentLoad, EndpointHealthChange, Fingerprint, ModelDeployment, ProbeRun
)
now = timezone.now()
row = ModelDeployment.objects.get(name="mixtral-gpu2")
results = [
    dict(trait=trait, state=state, detail=detail, took_ms=took_ms, remedy=remedy, outcome="ok",
         context_tokens=None, first_token_ms=None, tokens_per_s=None)
    for trait, state, detail, took_ms, remedy in (
        ("reachable", "yes", "Something answers at http://10.0.4.12:8000.", 12.0, ""),
        ("authenticated", "yes", "The server takes our requests.", 180.0, ""),
        ("model_found", "yes", "The server lists it.", 0.0, ""),
        ("chat", "yes", "It answers the prompt of chat.", 900.0, ""),
        ("streaming", "no", "The answer came in one piece.", 1100.0,
         "Look whether a proxy before the server collects its answers."),
        ("fill_in_middle", "unknown", "It could not be measured.", 10.0, ""),
        ("tools", "not_applicable", "Only a chat is offered tools.", 0.0, ""),
    )
]
fingerprint = Fingerprint.objects.create(
    deployment=row, subject=row.measured_subject, digest="4f1c" * 8, results=results,
    facts={{"chat": True, "streaming": False, "context": 16384}},
    differences={{"context": [32768, 16384]}}, created_at=now, measured_at=now,
)
EndpointHealthChange.objects.create(
    deployment=row, url=row.endpoints[0], state="degraded", at=now,
    reason="3 of the last 20 requests failed.",
)
DeploymentLoad.objects.create(
    deployment=row, worker="a", in_flight=6, slots=8, told_at=now + timedelta(hours=1),
    waiting={{"completion": 0, "chat": 3, "batch": 1}},
)
ProbeRun.objects.create(
    pk=1, kind="measurement", state="finished", deployment=row, results=results,
    subject=row.measured_subject, fingerprint=fingerprint, started_by={ADMIN!r},
)
url = "http://10.0.4.15:8000/v1"
suggestions = [
    dict(url=url, serving_format="openai_chat", model_identifier=name, family=family,
         context_tokens=tokens)
    for name, family, tokens in (
        ("mistralai/Mistral-7B-Instruct-v0.1", "mistral-7b", 32768),
        ("google/codegemma-7b-it", "codegemma-7b-it", 8192),
    )
]
ProbeRun.objects.create(
    pk=2, kind="inspection", state="finished", started_by={ADMIN!r},
    draft={{"endpoints": ["http://10.0.4.15:8000"]}},
    results=[dict(outcome="ok", suggestions=suggestions, message=f"The server at "
        f"http://10.0.4.15:8000 speaks OpenAI-compatible chat. Register it as {{url}}.")],
)
"""
_EVALUATIONS = f"""
from tests.factories import make_run
from selfhosted_models.models import ModelDeployment
gpu1 = ModelDeployment.objects.get(name="codegemma-gpu1")
gpu2 = ModelDeployment.objects.get(name="mixtral-gpu2")
make_run(gpu1, "++++++++-+-+", batch={BATCH!r})
make_run(gpu2, "+++-+-++-+-+", batch={BATCH!r})
make_run(gpu1, "++-+-+++-+--")
make_run(gpu2, "+++", feature="code_explanation", state="cancelled")
"""

#: A day of requests, of which some are lost; and how endpoints were.
_USAGE = """
import random
from datetime import timedelta
from math import sin, pi
from django.utils import timezone
from gateway.authentication.verifier import Caller
from gateway.errors import Hop
from gateway.exchange import Exchange
from gateway.usage.buffer import Taken
from gateway.usage.store import write_down
from selfhosted_models.models import EndpointHealthChange, ModelDeployment
from selfhosted_models.serving_formats.base import Usage
random = random.Random(7)
now = timezone.now()
caller = Caller("instance-1", frozenset(), is_own_issued=False)
ways = [
    ("code_completions", "codegemma-gpu1", 0.3, 12), ("code_generations", "mixtral-gpu2", 0.9, 4),
    ("duo_chat", "mixtral-gpu2", 1.1, 5), ("duo_chat", "mistral-spare", 0.7, 1),
    ("code_explanation", "codegemma-gpu1", 0.8, 2), ("test_generation", "general-old", 2.0, 1),
    ("merge_request_summary", "mixtral-gpu2", 1.6, 1), ("", "", 0.1, 1),
]
ended = []
for hours in range(24):
    for _ in range(int(30 + 25 * sin(pi * ((now.hour - hours) % 24) / 24))):
        feature, deployment, typical_s, _ = random.choices(ways, [way[3] for way in ways])[0]
        at = -3600 * (hours + random.random())
        first_s = random.lognormvariate(0, 0.5) * typical_s
        total_s = first_s * (1 + random.random() * 4)
        exchange = Exchange(random.randbytes(16).hex(), "POST", started_at=at - total_s)
        exchange.caller, exchange.sent_user = caller, f"user-{random.randrange(40)}"
        exchange.feature, exchange.deployment = feature, deployment
        exchange.route, exchange.status, exchange.attempts = "v2/code/completions", 200, 1
        exchange.prompt, exchange.configuration = "complete/base/1.0.0", "0123456789abcdef"
        exchange.usage = Usage(random.randrange(200, 2000), random.randrange(10, 200))
        exchange.first_content_at, exchange.ended_at = at - total_s + first_s, at
        drawn = random.random()
        if deployment == "general-old" or drawn < 0.015:
            exchange.first_content_at, exchange.status, exchange.usage = None, 503, Usage()
            reason = f"{deployment} cannot be reached: check that the server runs."
            exchange.fail("upstream_unreachable", reason, Hop.MODEL_SERVER)
        elif drawn < 0.04:
            exchange.first_content_at, exchange.status, exchange.usage = None, 422, Usage()
            exchange.fail("request_invalid", "body.current_file: Field required", Hop.CALLER)
        elif drawn < 0.16:
            exchange.outcome = "client_left"
        ended.append(exchange)
ended.sort(key=lambda exchange: exchange.ended_at)
write_down(Taken(ended, 3), clock_offset_s=now.timestamp())
for name, story in {
    "codegemma-gpu1": [(400, "healthy"), (9, "degraded"), (8, "healthy")],
    "mixtral-gpu2": [(30, "healthy"), (3, "degraded")],
    "general-old": [(20, "starting"), (19, "healthy"), (14, "down"), (13, "healthy"), (6, "down")],
}.items():
    row = ModelDeployment.objects.get(name=name)
    for hours, state in story:
        EndpointHealthChange.objects.create(
            deployment=row, url=row.endpoints[0], state=state, at=now - timedelta(hours=hours),
            reason="It cannot be reached: connection refused." if state == "down" else "",
        )
    row.endpoint_health.update(since=now - timedelta(hours=story[-1][0]))
"""

_QUESTIONS = """
from django.utils import timezone
from docsearch.models import GoldenQuestion, UnansweredQuestion
from docsearch.store import IndexStore
from django.conf import settings
from docsearch.backend import LocalBackend
from gateway.documentation.indexes import note_installed
from gateway.documentation.questions import check_changed
for question, page in (
    ("how do I create a board?", "user/project/issue_board.md"),
    ("where do mail settings go?", "ci/runners.md"),
):
    GoldenQuestion.objects.create(question=question, page=page)
now = timezone.now()
for question, times in (("how do I frobnicate a runner at […]", 3), ("xylophone", 1)):
    UnansweredQuestion.objects.create(
        question=question, outcome="not_documented", gitlab_version="17.4.0", times=times,
        first_asked_at=now, last_asked_at=now,
    )
store = IndexStore.below(settings.DATA_DIR)
note_installed(store)
check_changed(LocalBackend(store))
"""
DOCUMENTATION = Path(__file__).parents[1] / "documentation"


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
    """Register four deployments and assign them so that every state shows; documentation too."""
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
    source = (str(DOCUMENTATION), "--gitlab-version", "17.4.0")
    site.manage("build_docs_index", *source, "--install")
    site.manage("shell", "-c", _HEALTH + _PROBES + _USAGE + _EVALUATIONS + _QUESTIONS)


@contextmanager
def site_with_users(folder: Path, **settings: str) -> Iterator[Gateway]:
    """Run a gateway with `viewer`, `editor` and `officer`, named by their roles, and an admin.

    `promoted` is a viewer that a test may give another role.
    """
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
