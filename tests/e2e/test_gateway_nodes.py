"""Gateway nodes without a database: they serve what a configuration node says, and outlive it."""

import json
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet

from gateway.rest.scopes import Scope
from tests.e2e.callers import CALLS, CHAT, COMPLETION, CURRENT_FILE, PROMPT, SCOPES, Call
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer
from tests.gateway_process import Gateway, gateway
from tests.services import REPOSITORY

ENCRYPTION_KEY = Fernet.generate_key().decode()
API_KEY = "sk-canary-0123456789abcdef"
#: What operators are promised.
SPREADS_WITHIN_S = 5.0
#: What stands in the place of a name in a path.
PATHS = {
    "/v1/prompts/{prompt_id}": PROMPT.path,
    "/v1/chat/{chat_invokable}": "/v1/chat/agent",
    "/openai/v1/models/{model_id}": "/openai/v1/models/duo_chat",
}
_TURN = {"role": "user", "content": "Hello"}
_EDITED = {"type": "code_editor_completion", "payload": CURRENT_FILE}
_ASKED = {
    "type": "prompt",
    "metadata": {"source": "GitLab EE", "version": "18.0.0"},
    "payload": {"content": "Hi", "provider": "anthropic"},
}
BODIES: dict[str, object] = {
    **{call.path: call.body for call in CALLS},
    "/v2/completions": COMPLETION.body,
    "/v3/code/completions": {"prompt_components": [_EDITED]},
    "/v4/code/suggestions": {"prompt_components": [_EDITED]},
    "/v2/chat/agent": {"messages": [_TURN]},
    "/v1/chat/agent": {"prompt_components": [_ASKED]},
    "/v1/search/gitlab-docs": {
        "type": "search",
        "metadata": {"source": "GitLab EE", "version": "18.0.0"},
        "payload": {"query": "runners"},
    },
    "/openai/v1/completions": {"model": "code_completions", "prompt": "x", "suffix": "y"},
}
#: What the gateway answers nobody.
NOT_ANSWERED = {
    ("POST", "/v1/proxy/{rest}"),
    ("POST", "/v1/amazon_q/{rest}"),
    ("POST", "/v1/x-ray/libraries"),
}


@dataclass(frozen=True, slots=True)
class Installation:
    """A configuration node, and what the gateway nodes beside it are started with.

    Attributes:
        life: Ends the configuration node.
    """

    folder: Path
    configuration_node: Gateway
    life: ExitStack
    gitlab: GitLab
    models: ModelServer
    settings: dict[str, str]

    @contextmanager
    def node(self, name: str, **settings: str) -> Iterator[Gateway]:
        with gateway(self.folder / name, **{**self.settings, **settings}) as running:
            yield running

    def apply(self, identifier: str) -> str:
        """Give the one deployment a model; return the digest of the configuration."""
        row = {
            "name": "gpu1",
            "family": "general",
            "serving_format": "openai_chat",
            "endpoints": [self.models.endpoint],
            "model_identifier": identifier,
            "api_key": API_KEY,
        }
        self.configuration_node.apply([row], {call.feature: ["gpu1"] for call in CALLS})
        return self.configuration_node.configuration()

    def change(self, identifier: str, nodes: list[Gateway]) -> str:
        """Give it another model by REST; return the digest once every node serves that, in time."""
        deadline = time.monotonic() + SPREADS_WITHIN_S
        token = self.gitlab.mint([*map(str, Scope)])
        api, headers = f"{self.configuration_node.url}/api/v1", self.gitlab.headers(token)
        (row,) = httpx.get(f"{api}/deployments/", headers=headers).json()["results"]
        changed = httpx.patch(
            f"{api}/deployments/{row['id']}/",
            json={"model_identifier": identifier},
            headers=headers | {"If-Match": "*"},
        )
        assert changed.status_code == 200, changed.text
        version = httpx.get(f"{api}/serving-config/", headers=headers).json()["version"]
        while any(ready(node).get("configuration") != version for node in nodes):
            assert time.monotonic() < deadline, "a node did not take the new configuration"
        return str(version)

    def ask(self, node: Gateway, call: Call = CHAT) -> httpx.Response:
        return self.send(node, "POST", call.path, call.body)

    def send(self, node: Gateway, method: str, path: str, body: object) -> httpx.Response:
        headers = self.gitlab.headers(self.gitlab.mint([*SCOPES, "documentation_search"]))
        return httpx.request(method, node.url + path, json=body, headers=headers, timeout=30)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    with GitLab() as gitlab, ModelServer() as models, ExitStack() as life:
        common = {"ENCRYPTION_KEYS": ENCRYPTION_KEY, "AIGW_GITLAB_URL": gitlab.url}
        (tmp_path / "configuration").mkdir()
        running = life.enter_context(gateway(tmp_path / "configuration", **common))
        token = running.manage("create_api_token", "nodes", "--scopes", "read_serving_config")
        settings = {
            **common,
            "SERVING_CONFIG_URL": running.url,
            "SERVING_CONFIG_TOKEN": token.strip(),
            "CONFIGURATION_POLL_S": "2",
        }
        yield Installation(tmp_path, running, life, gitlab, models, settings)


def ready(node: Gateway) -> dict[str, object]:
    answer: dict[str, object] = httpx.get(f"{node.url}/readyz").json()
    return answer


def gateway_paths() -> Iterator[tuple[str, str, object]]:
    """Yield method, path and body of every operation that the gateway has."""
    document = json.loads((REPOSITORY / "docs" / "openapi.json").read_text())
    for template, operations in document["paths"].items():
        path = PATHS.get(template, template)
        for method in operations:
            yield method.upper(), path, BODIES.get(path)


def test_node_serves_without_a_database_and_outlives_the_configuration_node(
    installed: Installation,
) -> None:
    installed.apply("first-model")
    with installed.node("node") as node:
        answer = installed.ask(node)
        changed = installed.change("second-model", [node])
        told_by_both = {
            (method, path): [
                installed.send(each, method, path, body).status_code
                for each in (node, installed.configuration_node)
            ]
            for method, path, body in gateway_paths()
        }
        node.manage("support_bundle", "--output", str(bundle := installed.folder / "bundle.zip"))
        failed = node.log_events("upkeep.failed")
        page, rest = httpx.get(f"{node.url}/admin/"), httpx.get(f"{node.url}/api/v1/features/")

    assert answer.status_code == 200, answer.text
    assert [asked for asked, (here, there) in told_by_both.items() if here != there] == []
    assert {call for call, (here, _) in told_by_both.items() if here != 200} == NOT_ANSWERED
    with zipfile.ZipFile(bundle) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert "second-model" in parts["configuration.yml"]
    assert json.loads(parts["explanations.json"])["duo_chat"]["answered"]
    assert "SERVING_CONFIG_URL" in parts["revisions.json"]  # which says where they are
    assert API_KEY not in "".join(parts.values())
    assert failed == []  # as whatever wants a database would be
    assert (page.status_code, rest.status_code) == (404, 404)
    assert "SERVING_CONFIG_URL" in page.text
    assert rest.json()["code"] == "no_database"
    data_dir = Path(node.env["DATA_DIR"])
    assert not list(data_dir.glob("*.sqlite3"))
    assert API_KEY not in (data_dir / "serving_config.json").read_text()

    installed.life.close()  # the configuration node goes down, and this node restarts
    with installed.node("node") as node:
        asked = len(installed.models.exchanges_at(""))
        later = installed.ask(node)
        told = node.log_events("configuration.unreadable")[0]
        served = ready(node)
        metrics = httpx.get(f"http://{node.env['METRICS_BIND']}/metrics").text

    assert later.status_code == 200, later.text
    assert (
        json.loads(installed.models.exchanges_at("")[asked].request.body)["model"] == "second-model"
    )
    assert served["configuration"] == changed
    assert float(str(served["configuration_age_s"])) > 0
    assert "cannot be reached" in told["reason"]
    assert told["age_s"] is not None
    assert "duo_configuration_age_seconds" in metrics
    assert API_KEY not in node.log()
    assert installed.settings["SERVING_CONFIG_TOKEN"] not in node.log()


@pytest.mark.slow
@pytest.mark.timeout(600)  # eleven gateways are started
def test_change_reaches_ten_nodes_within_five_seconds(installed: Installation) -> None:
    installed.apply("first-model")
    with ExitStack() as stack:
        nodes = [stack.enter_context(installed.node(f"node{number}")) for number in range(10)]
        installed.change("second-model", nodes)

        answers = [installed.ask(node) for node in nodes]

    assert [answer.status_code for answer in answers] == [200] * 10
