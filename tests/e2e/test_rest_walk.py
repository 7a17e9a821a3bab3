"""What Rails does by REST, on the real server with a real PostgreSQL: from nothing to an answer."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import psycopg
import pytest

from gateway.rest.scopes import Scope
from tests.e2e.callers import COMPLETION
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer
from tests.gateway_process import Gateway, gateway
from tests.services import REPOSITORY

SERVED_WITHIN_S = 10
KEY = "sk-canary-0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Walk:
    """A gateway that nothing is configured on, and Rails, which may configure it."""

    gateway: Gateway
    models: ModelServer
    rails: httpx.Client


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Walk]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE rest_walk")
    database = postgres_url.removesuffix("/postgres") + "/rest_walk"
    folder = tmp_path_factory.mktemp("rest_walk")
    with (
        GitLab() as gitlab,
        ModelServer() as models,
        gateway(folder, DATABASE_URL=database, AIGW_GITLAB_URL=gitlab.url) as running,
        httpx.Client(
            base_url=f"{running.url}/api/v1/",
            headers=gitlab.headers(gitlab.mint([*map(str, Scope)])),
            timeout=30,
        ) as rails,
    ):
        yield Walk(running, models, rails)


def deployment_at(walk: Walk, name: str) -> dict[str, object]:
    return {
        "name": name,
        "family": "codegemma-7b-it",
        "serving_format": "openai_text",
        "endpoints": [walk.models.endpoint],
        "model_identifier": "codegemma",
        "api_key": KEY,
    }


def wait_until_served(walk: Walk, version: str) -> None:
    deadline = time.monotonic() + SERVED_WITHIN_S
    while walk.gateway.configuration() != version:
        assert time.monotonic() < deadline, "the gateway did not take the new configuration"


def test_rails_registers_assigns_and_an_ide_is_answered(walk: Walk) -> None:
    created = walk.rails.post("deployments/", json=deployment_at(walk, "gpu1"))
    setting = walk.rails.get("feature-settings/code_completions/")
    assigned = walk.rails.put(
        "feature-settings/code_completions/",
        json={"deployments": ["gpu1"]},
        headers={"If-Match": setting.headers["ETag"]},
    )
    explained = walk.rails.get("explain/code_completions/").json()
    wait_until_served(walk, walk.rails.get("serving-config/").json()["version"])
    access = walk.rails.post("direct_access/", json={"user_id": "user-1"}).json()
    answer = httpx.post(
        access["base_url"] + COMPLETION.path,
        json=COMPLETION.body,
        headers=access["headers"] | {"Authorization": f"Bearer {access['token']}"},
        timeout=30,
    )

    assert (created.status_code, assigned.status_code) == (201, 200), created.text + assigned.text
    assert explained["would_answer"] is True, explained
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["text"]
    assert KEY not in walk.gateway.log() + created.text


def test_answers_and_log_lines_name_the_configuration_that_is_served(walk: Walk) -> None:
    answer = walk.rails.get("features/", headers={"X-Request-ID": "names-it"})

    (line,) = [
        event
        for event in walk.gateway.log_events("rest.finished")
        if event["request_id"] == "names-it"
    ]
    served = walk.gateway.configuration()
    assert answer.headers["X-Gitlab-Duo-Configuration"] == line["configuration"] == served


def test_posts_at_the_same_moment_with_one_key_are_one(walk: Walk) -> None:
    def post(_: int) -> httpx.Response:
        return walk.rails.post(
            "deployments/",
            json=deployment_at(walk, "once"),
            headers={"Idempotency-Key": "once"},
        )

    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(post, range(4))]

    assert {answer.status_code for answer in answers} == {201}, [item.text for item in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_program_with_a_token_of_the_command_is_let_in_until_it_is_revoked(walk: Walk) -> None:
    token = walk.gateway.manage(
        "create_api_token", "pipeline", "--scopes", "read_configuration"
    ).strip()
    url, headers = f"{walk.gateway.url}/api/v1/features/", {"Authorization": f"Bearer {token}"}

    allowed = httpx.get(url, headers=headers)
    walk.gateway.manage("revoke_api_token", "pipeline")
    refused = httpx.get(url, headers=headers)

    assert (allowed.status_code, refused.status_code) == (200, 401)


def test_body_that_is_too_large_is_refused_before_it_is_read(walk: Walk) -> None:
    answer = walk.rails.post("deployments/", content=b"x" * 3_000_000)

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


# --- The example for Rails developers -------------------------------------------------------------

PASTED = re.findall(r"```ruby\n(.*?)```", (REPOSITORY / "docs" / "rails.md").read_text(), re.DOTALL)
#: What the example defines and does not call itself.
CALLING_THE_REST = """
def refusal_of
  yield
rescue DuoGateway::Problem => problem
  { status: problem.status, code: problem.code, errors: problem.errors, id: problem.request_id }
end

access = gateway.direct_access("user-1", instance_id: "i-1", host_name: "gitlab.example.com")
puts JSON.generate(
  names: gateway.deployments.map { |deployment| deployment["name"] },
  explained: explained,
  preview: gateway.preview([{ feature: "duo_chat", deployments: ["codegemma-gpu1"] }]),
  access: access,
  unknown: refusal_of { gateway.assign("code_completions", ["nobody"]) },
  stale: refusal_of { gateway.assign("code_completions", [], seen: '"stale"') }
)
"""


def test_example_for_rails_developers_can_be_pasted(walk: Walk) -> None:
    if shutil.which("ruby") is None:
        pytest.skip("Ruby is not installed; on Debian: apt-get install ruby")
    scopes = "read_configuration,write_configuration,issue_user_tokens"
    token = walk.gateway.manage("create_api_token", "rails", "--scopes", scopes).strip()
    (example,) = PASTED
    program = example.replace("http://gateway.example.com:8000", walk.gateway.url)

    ran = subprocess.run(
        ["ruby", "-w", "-"],
        input=program + CALLING_THE_REST,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "DUO_GATEWAY_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert walk.gateway.url in program
    assert "codegemma-gpu1" in told["names"]
    assert [each["deployment"] for each in told["explained"]["candidates"]] == ["codegemma-gpu1"]
    assert [change["name"] for change in told["preview"]] == ["duo_chat"]
    assert told["access"].keys() == {"base_url", "token", "expires_at", "headers"}
    assert (told["unknown"]["status"], [*told["unknown"]["errors"]]) == (422, ["deployments"])
    assert (told["stale"]["status"], told["stale"]["code"]) == (412, "change_conflict")
    assert told["stale"]["id"]
