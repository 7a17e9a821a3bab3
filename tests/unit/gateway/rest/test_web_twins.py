"""Whatever can be sent in the admin can be sent by REST, or the documentation says why not."""

import re
from pathlib import Path

import pytest

from gateway.rest.urls import urlpatterns
from tests.unit.gateway.pages.test_page_access import RULES

REFERENCE = (Path(__file__).parents[4] / "docs" / "rest-api.md").read_text(encoding="utf-8")
LEFT_OUT = REFERENCE.partition("## What the web alone does")[2].partition("\n## ")[0]

DEPLOYMENT, SETTING = "selfhosted_models_modeldeployment", "feature_config_featuresetting"
ONE = "deployments/<uuid:pk>/"
#: Name of a URL of the admin that takes what is sent -> what does the same by REST.
TWINS = {
    f"{DEPLOYMENT}_add": ("post", "deployments/"),
    f"{DEPLOYMENT}_change": ("patch", ONE),
    f"{DEPLOYMENT}_delete": ("delete", ONE),
    f"{DEPLOYMENT}_changelist": ("delete", ONE),
    "deployment_ask": ("post", "deployments/inspect/"),
    "deployment_test_new": ("post", "deployments/test/"),
    "deployment_test": ("post", f"{ONE}test/"),
    "probe_cancel": ("post", "probe-runs/<int:number>/cancel/"),
    f"{SETTING}_change": ("put", "feature-settings/<str:feature>/"),
    f"{SETTING}_changelist": ("put", "feature-settings/<str:feature>/"),
    "feature_choose": ("put", "feature-settings/<str:feature>/"),
    "features_bulk": ("post", "feature-settings/bulk/"),
    "features_take_back": ("post", "feature-settings/bulk/"),
    "playground": ("post", "prompts/<str:feature>/render/"),
    "revision_restore": ("post", "revisions/<int:number>/restore/"),
    "audit_verify": ("get", "audit/verify/"),
    "audit_export": ("get", "audit/"),
    "evaluation_start": ("post", "evaluations/"),
    "evaluation_cancel": ("post", "evaluations/<int:number>/cancel/"),
    "evaluations_together_cancel": ("post", "evaluations/<int:number>/cancel/"),
    "evaluation_resume": ("post", "evaluations/<int:number>/resume/"),
    "documentation_check": ("post", "docs-indexes/check/"),
    "documentation_rollback": ("post", "docs-indexes/<str:version>/rollback/"),
    "documentation_add_golden": ("post", "golden-questions/"),
    "documentation_remove_golden": ("delete", "golden-questions/<int:number>/"),
    "documentation_deal_with": ("post", "unanswered-questions/deal-with/"),
}
#: Name of a URL that has none -> how the documentation calls what it does.
NO_TWIN = {
    "playground_ask": "playground",
    "auth_user_changelist": "users",
    "auth_user_add": "users",
    "auth_user_change": "users",
    "auth_user_history": "users",
    "auth_user_password_change": "passwords",
    "password_change": "passwords",
    "second_factor": "second factors",
    "login": "sessions",
    "logout": "sessions",
}
#: Only shows something, whatever method it is asked with.
SHOWS = {
    *("index", "app_list", "view_on_site"),
    *(f"{DEPLOYMENT}_history", f"{SETTING}_history"),
}


def test_everything_that_takes_what_is_sent_has_a_twin_or_is_left_out_on_purpose() -> None:
    takes = {name for name, (_, may_send) in RULES.items() if may_send}

    assert takes == TWINS.keys() | NO_TWIN.keys() | SHOWS


@pytest.mark.parametrize("name", TWINS)
def test_twin_is_there(name: str) -> None:
    method, path = TWINS[name]
    methods = {str(found.pattern): found.callback.actions for found in urlpatterns}  # type: ignore[attr-defined]

    assert method in methods[path]


@pytest.mark.parametrize("words", sorted({*NO_TWIN.values()}))
def test_what_is_left_out_is_told_with_its_reason(words: str) -> None:
    assert re.search(rf"^- \*\*.*{words}.*\*\*: .{{30,}}", LEFT_OUT, re.MULTILINE | re.IGNORECASE)
