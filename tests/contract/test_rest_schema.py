"""The REST API keeps to its own OpenAPI document, whatever is sent to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, settings
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
from tests.services import REPOSITORY

COMMITTED = Path(REPOSITORY) / "docs" / "api-schema.yml"
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
def token(_connection_stays: None, settings: Any) -> str:
    """May do everything on a site where something is configured, as often as it likes."""
    settings.REST_REQUESTS_PER_MINUTE = 0
    settings.ALLOWED_HOSTS = ["*"]
    assign(Feature.DUO_CHAT, make_deployment(name="a", api_key="sk-canary-0123456789abcdef"))
    return create_api_token("fuzz", Scope, Attribution("operator", Origin.COMMAND))


def test_committed_document_is_that_of_the_code() -> None:
    written = yaml.safe_load(COMMITTED.read_text(encoding="utf-8"))

    generated = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    assert written == generated, "run `make docs`"


@document.parametrize()
@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[*HealthCheck],
)
def test_every_operation_keeps_to_the_document(case: Any, token: str) -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)
