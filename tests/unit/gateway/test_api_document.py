"""The OpenAPI document is that of the code, and leaves no error out."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command

from feature_config.errors import FeatureError
from gateway.errors import GatewayError, MethodUnknown, NoDatabase
from gateway.inbound.handler import PUBLIC_PATHS
from prompts.errors import PromptError
from selfhosted_models.errors import DeploymentError
from tests.services import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "openapi.json"

#: Of a method that a path does not have, which is no operation.
OUTSIDE = {MethodUnknown.code, NoDatabase.code}


def printed() -> str:
    out = io.StringIO()
    call_command("print_openapi", stdout=out)
    return out.getvalue()


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in json.loads(printed())["paths"].items():
        for operation in methods.values():
            yield path, operation


def leaf_codes(base: type[Any]) -> Iterator[str]:
    children = [kind for kind in base.__subclasses__() if not kind.__module__.startswith("tests.")]
    if not children:
        yield base.code
    for child in children:
        yield from leaf_codes(child)


def test_stored_document_is_that_of_the_code() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == printed(), "run `make docs`"


@pytest.mark.parametrize("base", [GatewayError, FeatureError, PromptError, DeploymentError])
def test_every_error_is_declared_by_an_operation(base: type[Exception]) -> None:
    declared = {
        code
        for _, operation in operations()
        for response in operation["responses"].values()
        for code in response["description"].split(", ")
    }

    assert set(leaf_codes(base)) - OUTSIDE <= declared


def test_every_operation_says_who_may_call_and_what_may_go_wrong() -> None:
    for path, operation in operations():
        is_public = path in PUBLIC_PATHS
        assert bool(operation["security"]) is not is_public, path
        assert ("401" in operation["responses"]) is not is_public, path
        assert {"408", "413", "431", "500", "503"} <= operation["responses"].keys(), path


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/v1/prompts/{prompt_id}", {"200", "400", "403", "404", "421", "422", "504"}),
        ("/v1/code/user_access_token", {"200", "400", "403"}),
        ("/openai/v1/models", {"200"}),
        ("/openai/v1/chat/completions", {"200", "400", "403", "404", "502", "504"}),
        ("/v1/proxy/{rest}", {"404"}),
    ],
)
def test_statuses_follow_the_dialect_of_the_path(path: str, statuses: set[str]) -> None:
    (operation,) = [operation for known, operation in operations() if known == path]

    everywhere = {"401", "408", "413", "429", "431", "500", "503"}
    assert operation["responses"].keys() - everywhere == statuses


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, operation in operations()]

    assert len(ids) == len(set(ids))
