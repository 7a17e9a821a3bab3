"""Every URL of the admin pages, by every role, with every method: none is without a rule."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse

from feature_config.catalogue import Feature
from gateway.configuration.history import stored_data
from gateway.roles import EDITOR, SECURITY_OFFICER, VIEWER
from selfhosted_models.models import ModelDeployment
from selfhosted_models.probe_runs import ProbeKind, ProbeRun
from tests.factories import make_admin, make_deployment, make_run, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

ADMINISTRATOR, STRANGER = "administrator", "stranger"
ROLES = (STRANGER, VIEWER, EDITOR, SECURITY_OFFICER, ADMINISTRATOR)
NOBODY: tuple[str, ...] = ()
EVERYONE = ROLES
INSIDE = (VIEWER, EDITOR, SECURITY_OFFICER, ADMINISTRATOR)
EDITORS = (EDITOR, ADMINISTRATOR)
OFFICERS = (SECURITY_OFFICER, ADMINISTRATOR)

DEPLOYMENT = "selfhosted_models_modeldeployment"
SETTING = "feature_config_featuresetting"
#: Name of a URL -> who may open it, and who may send a form to it.
RULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "login": (EVERYONE, EVERYONE),
    "logout": (NOBODY, EVERYONE),
    "second_factor": (INSIDE, INSIDE),
    "index": (INSIDE, INSIDE),
    "password_change": (INSIDE, INSIDE),
    "password_change_done": (INSIDE, NOBODY),
    "jsi18n": (INSIDE, NOBODY),
    "autocomplete": (NOBODY, NOBODY),
    "view_on_site": (INSIDE, INSIDE),
    "app_list": (INSIDE, INSIDE),
    f"{DEPLOYMENT}_changelist": (INSIDE, INSIDE),
    f"{DEPLOYMENT}_add": (EDITORS, EDITORS),
    f"{DEPLOYMENT}_change": (INSIDE, EDITORS),
    f"{DEPLOYMENT}_history": (INSIDE, INSIDE),
    f"{DEPLOYMENT}_delete": (EDITORS, EDITORS),
    "deployment_ask": (NOBODY, EDITORS),
    "deployment_test_new": (NOBODY, EDITORS),
    "deployment_test": (NOBODY, EDITORS),
    "probe_run": (INSIDE, NOBODY),
    "probe_findings": (INSIDE, NOBODY),
    "probe_cancel": (NOBODY, EDITORS),
    f"{SETTING}_changelist": (INSIDE, INSIDE),
    f"{SETTING}_add": (NOBODY, NOBODY),
    f"{SETTING}_change": (INSIDE, EDITORS),
    f"{SETTING}_history": (INSIDE, INSIDE),
    f"{SETTING}_delete": (NOBODY, NOBODY),
    "feature_matrix": (INSIDE, NOBODY),
    "feature_matrix_cell": (INSIDE, NOBODY),
    "features_bulk": (NOBODY, EDITORS),
    "features_take_back": (NOBODY, EDITORS),
    "feature_choose": (NOBODY, EDITORS),
    "playground": (EDITORS, EDITORS),
    "playground_ask": (NOBODY, EDITORS),
    "explain": (INSIDE, NOBODY),
    "history": (INSIDE, NOBODY),
    "revision": (INSIDE, NOBODY),
    "revision_difference": (INSIDE, NOBODY),
    "revision_restore": (NOBODY, EDITORS),
    "audit": (OFFICERS, NOBODY),
    "audit_verify": (NOBODY, OFFICERS),
    "audit_export": (NOBODY, OFFICERS),
    "usage": (INSIDE, NOBODY),
    "requests": (INSIDE, NOBODY),
    "evaluations": (INSIDE, NOBODY),
    "evaluation": (INSIDE, NOBODY),
    "evaluation_report": (INSIDE, NOBODY),
    "evaluations_together": (INSIDE, NOBODY),
    "evaluations_together_cancel": (NOBODY, EDITORS),
    "evaluation_start": (NOBODY, EDITORS),
    "evaluation_cancel": (NOBODY, EDITORS),
    "evaluation_resume": (NOBODY, EDITORS),
    "prompts": (INSIDE, NOBODY),
    "prompt": (INSIDE, NOBODY),
    "documentation": (INSIDE, NOBODY),
    "documentation_search": (INSIDE, NOBODY),
    "documentation_questions": (INSIDE, NOBODY),
    "documentation_check": (NOBODY, EDITORS),
    "documentation_rollback": (NOBODY, EDITORS),
    "documentation_add_golden": (NOBODY, EDITORS),
    "documentation_remove_golden": (NOBODY, EDITORS),
    "documentation_deal_with": (NOBODY, EDITORS),
    "auth_user_changelist": (OFFICERS, OFFICERS),
    "auth_user_add": (OFFICERS, OFFICERS),
    "auth_user_change": (OFFICERS, OFFICERS),
    "auth_user_history": (OFFICERS, OFFICERS),
    "auth_user_delete": (NOBODY, NOBODY),
    "auth_user_password_change": (OFFICERS, OFFICERS),
}
#: Without a name: Django's redirect of an object's bare address, and its page for all else.
UNNAMED = {"<path:object_id>/", "(?P<url>.*)$"}


def walk(patterns: Any) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns)
        else:
            yield pattern


def names() -> list[str]:
    return sorted({pattern.name for pattern in walk(admin.site.urls[0]) if pattern.name})


def address(name: str) -> str:
    """Return the URL of that name, of an object that there is."""
    pattern = next(found for found in walk(admin.site.urls[0]) if found.name == name)
    deployment = ModelDeployment.objects.first() or make_deployment()
    subjects: dict[str, Any] = {
        "selfhosted_models": deployment.pk,
        "feature_config": Feature.DUO_CHAT.value,
        "auth": make_user(VIEWER).pk,
    }
    app = next((label for label in subjects if name.startswith(label)), "selfhosted_models")
    values = {
        "object_id": subjects[app],
        "id": subjects[app],
        "app_label": "selfhosted_models",
        "content_type_id": ContentType.objects.get_for_model(ModelDeployment).pk,
        "feature": Feature.DUO_CHAT.value,
        "family": "general",
        "prompt": Feature.DUO_CHAT.value,
        "number": 1,
        "batch": make_run(deployment).batch,
        "run_id": ProbeRun.objects.get_or_create(kind=ProbeKind.CHECK, deployment=deployment)[0].pk,
    }
    wanted = pattern.pattern.regex.groupindex
    return reverse(f"admin:{name}", kwargs={key: values[key] for key in wanted})


def client_of(role: str) -> Client:
    client = Client()
    if role == ADMINISTRATOR:
        client.force_login(make_admin())
    elif role != STRANGER:
        client.force_login(make_user(role))
    return client


def is_refused(response: Any) -> bool:
    location = response.headers.get("Location", "")
    return response.status_code in {403, 405} or location.startswith("/admin/login/")


def test_every_url_has_a_rule_and_every_rule_a_url() -> None:
    assert set(names()) == set(RULES)


def test_what_has_no_name_is_known() -> None:
    unnamed = {str(pattern.pattern) for pattern in walk(admin.site.urls[0]) if pattern.name is None}
    assert unnamed == UNNAMED


@pytest.mark.parametrize("role", ROLES)
def test_only_those_roles_get_in(role: str) -> None:
    urls = {name: address(name) for name in RULES}
    before = stored_data()
    found = {name: refusals(client_of(role), url) for name, url in urls.items()}

    for name, (may_open, may_send) in RULES.items():
        refused = found[name]
        assert refused["GET"] is refused["HEAD"] is (role not in may_open), name
        assert refused["POST"] is (role not in may_send), name
        if role not in may_open and role not in may_send:
            assert all(refused.values()), name
    assert stored_data() == before


def refusals(client: Client, url: str) -> dict[str, bool]:
    """Return for each method whether it is refused; that which may log out comes last."""
    methods = ("GET", "HEAD", "PUT", "DELETE", "POST")
    return {method: is_refused(client.generic(method, url)) for method in methods}


def test_a_viewer_deletes_nothing_by_an_action() -> None:
    deployment = make_deployment()
    asked = {"action": "delete_selected", "_selected_action": [deployment.pk], "post": "yes"}

    client_of(VIEWER).post(address(f"{DEPLOYMENT}_changelist"), asked)

    assert ModelDeployment.objects.filter(pk=deployment.pk).exists()


def test_pages_that_are_not_there_are_told_to_those_inside_alone() -> None:
    assert is_refused(Client().get("/admin/nothing/here/"))
    answer = client_of(VIEWER).get("/admin/nothing/here/")

    assert answer.status_code == 404
    assert "There is no such page" in answer.content.decode()


def test_a_refusal_says_what_role_would_help() -> None:
    answer = client_of(VIEWER).get(address(f"{DEPLOYMENT}_add"))

    assert answer.status_code == 403
    assert "A security officer can give you the role" in answer.content.decode()
