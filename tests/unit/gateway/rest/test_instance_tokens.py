"""Tokens of GitLab instances, through the ASGI application: pages and verifier of one worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.asgi import Application
from gateway.rest.scopes import Scope
from tests.fakes.gitlab import INSTANCE_ID
from tests.unit.gateway.asgi import Answer, Client
from tests.unit.gateway.parts import ModelServer, runtime, snapshot
from tests.unit.gateway.signing import headers, mint, mint_own

pytestmark = pytest.mark.django_db

SCOPES = [*map(str, Scope)]
FEATURES = "/api/v1/features/"


@asynccontextmanager
async def running() -> AsyncIterator[Client]:
    """Yield a client of an application that has started."""

    async def start() -> Any:
        return runtime(ModelServer())

    app, messages = Application(start), asyncio.Queue[dict[str, Any]]()
    sent: asyncio.Queue[Any] = asyncio.Queue()
    await messages.put({"type": "lifespan.startup"})
    life = asyncio.create_task(app({"type": "lifespan"}, messages.get, sent.put))
    assert (await sent.get())["type"] == "lifespan.startup.complete"
    yield Client(app)  # type: ignore[arg-type]
    await messages.put({"type": "lifespan.shutdown"})
    await life


async def ask(sent: dict[str, str], path: str = FEATURES) -> Answer:
    async with running() as client:
        return await client.get(path, {"Host": "localhost", **sent})


async def test_instance_with_the_scope_is_let_in() -> None:
    answer = await ask(headers(mint(scopes=SCOPES)))

    assert answer.status == 200
    assert len(answer.json) == 16


async def test_instance_without_the_scope_is_refused() -> None:
    answer = await ask(headers(mint(scopes=["complete_code"])))

    assert (answer.status, answer.json["code"]) == (403, "scope_denied")


@pytest.mark.parametrize(
    "sent",
    [
        headers(mint(key=-2, scopes=SCOPES)),
        headers(mint(scopes=SCOPES), x_gitlab_instance_id="another"),
        headers(mint(scopes=SCOPES), x_gitlab_authentication_type=None),
        headers("x"),
        {"Authorization": "Basic YTpi"},
    ],
)
async def test_token_that_the_gateway_refuses_is_refused_here(sent: dict[str, str]) -> None:
    answer = await ask(sent)

    assert (answer.status, answer.json["code"]) == (401, "token_refused")


async def test_token_of_a_user_administers_nothing() -> None:
    """Whatever scopes it carries: the gateway issues them to people's editors."""
    answer = await ask(headers(mint_own(scopes=SCOPES)))

    assert (answer.status, answer.json["code"]) == (401, "token_refused")


async def test_instance_is_who_the_access_is_for() -> None:
    async with running() as client:
        sent = headers(mint(scopes=SCOPES)) | {"Host": "localhost"}
        answer = await client.post("/api/v1/direct_access/", sent, json={"user_id": "user-1"})

    assert answer.status == 201
    assert answer.json["headers"]["X-Gitlab-Instance-Id"] == INSTANCE_ID
    assert answer.json["base_url"] == "http://localhost"


@pytest.mark.parametrize("path", [FEATURES, "/api/v1/nothing/", "/admin/login/", "/livez"])
async def test_every_answer_names_the_configuration_that_is_served(path: str) -> None:
    async with running() as client:
        answer = await client.get(path, {"Host": "localhost", **headers(mint(scopes=SCOPES))})

    assert answer.headers["x-gitlab-duo-configuration"] == snapshot().version


async def test_worker_that_has_not_started_says_so() -> None:
    sent = headers(mint(scopes=SCOPES)) | {"Host": "localhost"}
    answer = await Client(Application()).get(FEATURES, sent)  # type: ignore[arg-type]

    assert (answer.status, answer.json["code"]) == (503, "not_ready")
