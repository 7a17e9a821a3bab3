"""`docs/openapi.json` describes the real thing: whatever is asked, the answer is one it declares.

Two checks of Schemathesis are left out, because the wire contract decides otherwise: "true" is
taken for a boolean, and a body that fits its schema is refused where its model is unknown.
"""

import functools
import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS

from feature_config.catalogue import Feature
from gateway.management.commands.issue_token import known_scopes
from tests.contract.house import House, completion, file, generation, house
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer, Script
from tests.services import REPOSITORY

SCHEMA = schemathesis.openapi.from_path(REPOSITORY / "docs" / "openapi.json")
CONFORMS: Any = CHECKS.get_by_names(
    [
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "missing_required_header",
        "unsupported_method",
    ]
)
CATEGORIES = ("file", "snippet", "merge_request", "issue", "dependency", "local_git")
SCOPES = (*known_scopes(), *(f"include_{category}_context" for category in CATEGORIES))

#: Their bodies are much like those of `/v2/code/completions`: some of each kind is enough.
ALIKE = [
    "/v2/completions",
    "/v2/code/generations",
    "/v3/code/completions",
    "/v4/code/suggestions",
]

Case = schemathesis.Case[Any]

repeatable = functools.partial(
    settings,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[*HealthCheck],
)

EDITED = {
    "type": "code_editor_completion",
    "payload": {"file_name": "a.py", "content_above_cursor": "x", "content_below_cursor": ""},
}
ASKED = {
    "type": "prompt",
    "metadata": {"source": "GitLab EE", "version": "18.0.0"},
    "payload": {"content": "Hi", "provider": "anthropic"},
}
TURN = {"role": "user", "content": "Hi"}

#: Path, what it names, and a body that is answered by a model.
CALLS: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("/v2/code/completions", {}, completion()),
    ("/v2/code/generations", {}, generation()),
    ("/v3/code/completions", {}, {"prompt_components": [EDITED]}),
    ("/v4/code/suggestions", {}, {"prompt_components": [EDITED]}),
    ("/v1/prompts/{prompt_id}", {"prompt_id": "glab_ask_git_command"}, {"inputs": {"prompt": "x"}}),
    ("/v2/chat/agent", {}, {"messages": [TURN]}),
    ("/v1/chat/{chat_invokable}", {"chat_invokable": "agent"}, {"prompt_components": [ASKED]}),
    ("/openai/v1/chat/completions", {}, {"model": "duo_chat", "messages": [TURN]}),
    ("/openai/v1/completions", {}, {"model": "code_completions", "prompt": "x", "suffix": "y"}),
]
FAULTS = {
    "unauthorized": Script.error(401),
    "overloaded": Script.error(429, retry_after_s=3),
    "failing": Script.error(500),
    "html": Script.html(),
    "broken": Script.malformed_json(),
    "cut": Script(cut_after=0, cut="RST"),
}


class Described:
    """A gateway where a model answers every feature, and a caller that may do everything."""

    def __init__(self, built: House) -> None:
        self.house = built
        self.session = requests.Session()
        self.token = built.token(*SCOPES)
        self._addresses = map(str, ipaddress.ip_network("10.0.0.0/8").hosts())

    def ask(self, case: Case, token: str | None = "") -> schemathesis.Response:
        """Send `case` and hold the answer against the document; "" is a token for everything."""
        token = self.token if token == "" else token
        # Bad tokens are limited by address, and here one comes after the other.
        headers = self.house.headers(token, x_forwarded_for=next(self._addresses))
        response = case.call(base_url=self.house.gateway.url, headers=headers, session=self.session)
        case.validate_response(response, checks=CONFORMS)
        assert response.status_code != 500
        return response


@pytest.fixture(scope="module")
def described(
    gitlab_instance: GitLab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Described]:
    folder = tmp_path_factory.mktemp("described")
    with ModelServer() as models, house(folder, gitlab_instance, models, "registered") as built:
        deployment = {
            "name": "all",
            "family": "general",
            "serving_format": "openai_chat",
            "endpoints": [models.endpoint],
            "model_identifier": "all-model",
        }
        built.gateway.apply([deployment], {feature.value: ["all"] for feature in Feature})
        yield Described(built)


@pytest.fixture(autouse=True)
def _model_server_behaves(described: Described) -> None:
    described.house.models.answer_with(Script())


def case_of(
    path: str, names: dict[str, str], body: dict[str, Any], *, stream: bool = False
) -> Case:
    if "prompt_components" in body and path != "/v1/chat/{chat_invokable}":
        component = body["prompt_components"][0]
        streamed = {**component, "payload": {**component["payload"], "stream": stream}}
        body = {"prompt_components": [streamed]}
    else:
        body = {**body, "stream": stream}
    return SCHEMA[path]["POST"].Case(path_parameters=names, body=body)


@SCHEMA.exclude(path=ALIKE).parametrize()
@repeatable(max_examples=10)
def test_every_kind_of_input_has_a_declared_answer(case: Case, described: Described) -> None:
    response = described.ask(case)

    # The connection check is the one thing that nothing is chosen for.
    assert response.status_code < 500 or response.json()["code"] == "deployment_missing"


@SCHEMA.include(path=ALIKE).parametrize()
@repeatable(max_examples=20, phases=[Phase.generate])
def test_operations_alike_have_declared_answers(case: Case, described: Described) -> None:
    assert described.ask(case).status_code < 500


@SCHEMA.exclude(tag="monitoring").parametrize()
@repeatable(max_examples=2, phases=[Phase.generate])
def test_without_a_good_token_every_operation_is_401(case: Case, described: Described) -> None:
    expired = described.house.token(*SCOPES, expires_in_s=-60)

    for token in (None, expired, "e30.e30.e30"):
        assert described.ask(case, token).status_code == 401


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "names", "body"), CALLS, ids=[path for path, *_ in CALLS])
def test_good_request_is_answered_as_declared(
    described: Described, path: str, names: dict[str, str], body: dict[str, Any], stream: bool
) -> None:
    assert described.ask(case_of(path, names, body, stream=stream)).status_code == 200


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("path", "names", "body"), CALLS, ids=[path for path, *_ in CALLS])
def test_failing_model_server_is_told_as_declared(
    described: Described, path: str, names: dict[str, str], body: dict[str, Any], fault: str
) -> None:
    described.house.models.answer_with(FAULTS[fault])

    status = described.ask(case_of(path, names, body)).status_code

    assert status == 200 if path == "/v2/chat/agent" else status > 420


@pytest.mark.parametrize(("path", "names", "body"), CALLS, ids=[path for path, *_ in CALLS])
def test_token_without_scopes_is_refused_as_declared(
    described: Described, path: str, names: dict[str, str], body: dict[str, Any]
) -> None:
    token = described.house.token("read_nothing")

    assert described.ask(case_of(path, names, body), token).status_code == 403


def test_what_one_operation_answers_can_be_sent_to_the_next(described: Described) -> None:
    listed = described.ask(SCHEMA["/openai/v1/models"]["GET"].Case()).json()
    issued = described.ask(SCHEMA["/v1/code/user_access_token"]["POST"].Case()).json()

    for model in listed["data"]:
        body = {"model": model["id"], "prompt": "x"}
        assert described.ask(case_of("/openai/v1/completions", {}, body)).status_code == 200
    with_file = completion(current_file=file())
    case = case_of("/v2/code/completions", {}, with_file)
    assert described.ask(case, issued["token"]).status_code == 200
