"""The REST API keeps to its own OpenAPI document, whatever is sent to it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import schemathesis
import yaml
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase
from hypothesis import settings as searching
from jsonschema import Draft202012Validator
from pytest_django import Settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from feature_config.catalogue import Feature
from gateway.audit import Attribution, Origin
from gateway.rest.api_tokens import create_api_token
from gateway.rest.scopes import Scope
from tests.factories import assign, make_deployment
from tests.rest_rows import furnish
from tests.services import REPOSITORY

COMMITTED = Path(REPOSITORY) / "docs" / "api-schema.yml"
WRITTEN: dict[str, Any] = yaml.safe_load(COMMITTED.read_text(encoding="utf-8"))
#: Who may do what is tested from the router: tests/unit/gateway/rest/test_access.py.
CHECKS = (
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

document = schemathesis.openapi.from_path(COMMITTED)
document.app = get_wsgi_application()


@pytest.fixture
def _connection_stays(db: None) -> Iterator[None]:
    """Keep the test's transaction through requests, as Django's own client does."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def token(_connection_stays: None, settings: Settings) -> str:
    """May do everything, as often as it likes."""
    settings.REST_REQUESTS_PER_MINUTE = 0
    settings.ALLOWED_HOSTS = ["*"]
    return create_api_token("fuzz", Scope, Attribution("operator", Origin.COMMAND))


@pytest.fixture
def something_configured(_connection_stays: None) -> None:
    assign(Feature.DUO_CHAT, make_deployment(name="a", api_key="sk-canary-0123456789abcdef"))


def test_committed_document_is_that_of_the_code() -> None:
    generated = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    assert generated == WRITTEN, "run `make docs`"


@document.parametrize()
@searching(
    max_examples=5,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[*HealthCheck],
)
@pytest.mark.usefixtures("something_configured")
def test_every_operation_keeps_to_the_document(case: Any, token: str) -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)


# --- Every operation, done ------------------------------------------------------------------------

#: What `furnish` tells of the rows it stored.
Rows = Mapping[str, Mapping[str, Any]]


class Operation(NamedTuple):
    """One method of one path, as the document has it."""

    method: str
    path: str
    described: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def sent(self) -> dict[str, Any] | None:
        """The media type of the body; None: it takes none."""
        body = self.described.get("requestBody", {}).get("content", {})
        media: dict[str, Any] | None = body.get("application/json")
        return media

    @property
    def told(self) -> dict[str, dict[str, Any]]:
        """The media types of good answers that have a body, by status."""
        return {
            status: answer["content"]["application/json"]
            for status, answer in self.described["responses"].items()
            if "application/json" in answer.get("content", {})
        }


OPERATIONS = [
    Operation(method.upper(), path, described)
    for path, methods in WRITTEN["paths"].items()
    for method, described in methods.items()
]
#: What answers with a secret or with what users wrote keeps no answer; neither changes anything.
TAKES_NO_KEY = {"POST /api/v1/direct_access/", "POST /api/v1/prompts/{feature}/render/"}


def example_of(media: Mapping[str, Any]) -> Any:
    (only,) = media["examples"].values()
    return only["value"]


def strict(schema: Any) -> Any:
    """Return an OpenAPI 3.0 schema as JSON Schema that takes nothing it does not name."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: strict(value) for name, value in schema.items() if name != "nullable"}
    if isinstance(found.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    return {"anyOf": [found, {"type": "null"}]} if schema.get("nullable") is True else found


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_body_and_answer_has_an_example_that_fits(operation: Operation) -> None:
    bodies = [operation.sent] if operation.sent else []
    answers = operation.told.values()

    assert answers or "204" in operation.described["responses"]
    for media in [*bodies, *answers]:
        whole = strict({**media["schema"], "components": WRITTEN["components"]})
        errors = Draft202012Validator(whole).iter_errors(example_of(media))
        assert [(error.json_path, error.message) for error in errors] == [], "mend its @example"


@pytest.fixture
def rows(_connection_stays: None, settings: Settings, tmp_path: Path) -> Rows:
    """At least one of everything, on a site that has a package registry."""
    settings.DATA_DIR, settings.GITLAB_VERSION = tmp_path / "data", ""
    settings.DOCS_REGISTRY_URL = "http://10.0.0.9/api/v4/projects/1/packages"
    return furnish(settings.DATA_DIR)


@contextmanager
def _taken_back() -> Iterator[None]:
    """Let the next operation find the same rows."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def case_of(operation: Operation, rows: Rows, token: str) -> Any:
    """Return a call that should succeed, with the example of the document as its body."""
    resource, _, rest = operation.path.removeprefix("/api/v1/").partition("/")
    verb = rest.rstrip("/").rpartition("/")[2] if rest.count("/") > 1 else operation.method.lower()
    ids = rows.get(resource, {"": 1})
    number = ids.get(verb, ids[""])
    known = {
        "feature": "git_suggestions",
        "version": "17.4.0",
        "id": str(number),
        "number": number,
    }
    queries = {"to": rows["evaluations"]["to"], "q": "create a board"}
    named = operation.described.get("parameters", [])
    in_path = [each["name"] for each in named if each["in"] == "path"]
    return document[operation.path][operation.method].Case(
        path_parameters={name: known[name] for name in in_path},
        query={each["name"]: queries[each["name"]] for each in named if each["name"] in queries},
        headers={"Authorization": f"Bearer {token}", "If-Match": "*"},
        **({"body": example_of(operation.sent)} if operation.sent else {}),
    )


def test_every_operation_succeeds_on_real_rows(token: str, rows: Rows) -> None:

    for operation in OPERATIONS:
        case = case_of(operation, rows, token)
        with _taken_back():
            answer = case.call()
        assert 200 <= answer.status_code < 300, (operation.name, answer.content)
        case.validate_response(answer, checks=CHECKS)


def test_every_post_is_done_once_for_one_key(token: str, rows: Rows) -> None:
    posts = [operation for operation in OPERATIONS if operation.method == "POST"]

    for operation in posts:
        names = {each["name"] for each in operation.described.get("parameters", [])}
        assert ("Idempotency-Key" in names) is (operation.name not in TAKES_NO_KEY), operation.name
        if operation.name in TAKES_NO_KEY:
            continue
        case = case_of(operation, rows, token)
        case.headers["Idempotency-Key"] = "once"
        with _taken_back():
            first, again = case.call(), case.call()
        assert "idempotent-replayed" not in first.headers, operation.name
        assert again.headers["idempotent-replayed"] == ["true"], operation.name
        assert (again.status_code, again.content) == (first.status_code, first.content)
