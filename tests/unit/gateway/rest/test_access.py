"""Who may do what: every method of every path of the router, for every kind of client."""

from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from gateway.models import ApiToken, AuditRecord
from gateway.rest.api_tokens import PREFIX, revoke_api_token
from gateway.rest.scopes import ROLE_SCOPES, Scope
from gateway.rest.urls import urlpatterns
from gateway.roles import RESTORING
from tests.factories import make_user
from tests.unit.gateway.rest.api import Api
from tests.unit.gateway.rest.conftest import BY

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
VALUES = {
    "<uuid:pk>": "00000000-0000-4000-8000-000000000000",
    "<str:feature>": "duo_chat",
    "<int:number>": "1",
    "<int:pk>": "1",
    "<str:version>": "17.4.0",
}
ROLES: dict[str, Collection[Scope]] = {
    **ROLE_SCOPES,
    "gateway node": (Scope.READ_SERVING_CONFIG,),
    "searcher": (Scope.SEARCH_DOCUMENTATION,),
    "rails": (Scope.ISSUE_USER_TOKENS,),
    "nobody": (),
}


def operations() -> Iterator[tuple[str, str, str | None, Any]]:
    """Yield each method of each path, with the action it has there and the view."""
    for pattern in urlpatterns[:-1]:  # the last is for paths that there are not
        route = str(pattern.pattern)
        for placeholder, value in VALUES.items():
            route = route.replace(placeholder, value)
        view: Any = pattern.callback
        actions = view.actions | ({"head": view.actions["get"]} if "get" in view.actions else {})
        for method in METHODS:
            yield method, route, actions.get(method.lower()), view.cls


#: What in the admin pages is the same as a scope here.
PERMISSIONS: dict[Scope, Collection[str]] = {
    Scope.READ_CONFIGURATION: (
        "selfhosted_models.view_modeldeployment",
        "feature_config.view_featuresetting",
        "gateway.view_revision",
        "prompts.view_evaluationrun",
        "docsearch.view_goldenquestion",
        "docsearch.view_unansweredquestion",
    ),
    Scope.WRITE_CONFIGURATION: (
        "feature_config.change_featuresetting",
        "docsearch.change_installedindex",
        "docsearch.change_goldenquestion",
        "docsearch.change_unansweredquestion",
        "selfhosted_models.add_modeldeployment",
        *RESTORING,
    ),
    Scope.READ_AUDIT: ("gateway.view_auditrecord",),
    Scope.READ_USAGE: ("gateway.view_usageslice", "gateway.view_loggedrequest"),
    Scope.RUN_EVALUATIONS: ("prompts.add_evaluationrun",),
    Scope.SEARCH_DOCUMENTATION: ("docsearch.view_installedindex",),
}
#: What machines do, and people never: it is no page.
OF_MACHINES = {Scope.READ_SERVING_CONFIG, Scope.ISSUE_USER_TOKENS}


@pytest.mark.django_db
@pytest.mark.parametrize("role", ROLE_SCOPES)
def test_role_may_do_the_same_by_rest_as_in_the_admin(role: str) -> None:
    user = make_user(role)

    for scope, permissions in PERMISSIONS.items():
        for permission in permissions:
            assert (scope in ROLE_SCOPES[role]) is user.has_perm(permission), (role, permission)
    assert not ROLE_SCOPES[role] & OF_MACHINES


def test_every_scope_is_of_a_permission_or_of_machines() -> None:
    assert PERMISSIONS.keys() | OF_MACHINES == set(Scope)


def test_every_action_is_permitted_by_a_scope_of_the_list() -> None:
    for _, path, action, view in operations():
        if action is not None and path != "schema/":
            assert view.required_scopes[action] in Scope, (path, action)


@pytest.mark.parametrize("role", ROLES)
def test_role_may_do_what_its_scopes_permit_and_nothing_else(
    api_of: Callable[..., Api], role: str
) -> None:
    api = api_of(*ROLES[role])

    for method, path, action, view in operations():
        status = api.call(method, path, {}).status_code
        if action is None:
            assert status == 405, (method, path)
        elif path == "schema/" or view.required_scopes[action] in ROLES[role]:
            assert status not in {401, 403, 405, 500}, (method, path)
        else:
            assert status == 403, (method, path)


@pytest.mark.parametrize(
    "token",
    ["", PREFIX, PREFIX + "a" * 43, PREFIX + "\N{SNOWMAN}"],
)
def test_without_a_good_token_nothing_is_told(db: None, token: str) -> None:
    api = Api(token)

    for method, path, _, _ in [*operations(), ("GET", "no/such/path", None, None)]:
        answer = api.call(method, path, {})
        assert (answer.status_code, answer["WWW-Authenticate"][:6]) == (401, "Bearer")
        assert method == "HEAD" or answer.json()["detail"]


def test_unknown_path_is_told_as_a_problem(api: Api) -> None:
    answer = api.get("deployments")

    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert "end in a slash" in answer.json()["detail"]


# --- API tokens -----------------------------------------------------------------------------------


def test_token_is_stored_as_a_hash_alone_and_its_making_recorded(api: Api) -> None:
    row = ApiToken.objects.get()

    assert api.token.startswith(PREFIX)
    assert api.token not in str([*ApiToken.objects.values(), *AuditRecord.objects.values()])
    assert AuditRecord.objects.get(action="api_token.created").object_name == row.name == "rails"


def test_use_is_noted_to_the_minute(api: Api) -> None:
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        ApiToken.objects.update(expires_at=timezone.now() + timedelta(days=1))
        api.get("features/")
        first = ApiToken.objects.get().last_used_at
        clock.shift(59)
        api.get("features/")
        assert (
            ApiToken.objects.get().last_used_at == first == timezone.now() - timedelta(seconds=59)
        )
        clock.shift(1)
        api.get("features/")
        assert ApiToken.objects.get().last_used_at == timezone.now()


def test_revoked_token_is_refused_at_once(api: Api) -> None:
    revoke_api_token(ApiToken.objects.get(), BY)

    answer = api.get("features/")

    assert (answer.status_code, answer.json()["code"]) == (401, "token_refused")
    assert AuditRecord.objects.filter(action="api_token.revoked").exists()


def test_expired_token_is_refused(api: Api) -> None:
    ApiToken.objects.update(expires_at=timezone.now())

    assert api.get("features/").status_code == 401
