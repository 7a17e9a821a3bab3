"""The admin site: who is let in, and what every page has around it."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode

from gateway.audit import Origin, attribution_of_request, record
from gateway.pages import evaluations as evaluation_pages
from gateway.pages import prompts as prompt_pages
from gateway.pages.audit import audit_page, export_page, verify_page
from gateway.pages.documentation import documentation_urls
from gateway.pages.explain import explain_page
from gateway.pages.frame import LOOK, SEND, guarded, guarded_async
from gateway.pages.history import (
    difference_page,
    restore_page,
    revision_page,
    revisions_page,
)
from gateway.pages.home import home
from gateway.pages.playground import ask_view, playground_page
from gateway.pages.second_factor import SecondFactorView
from gateway.pages.usage import requests_page, usage_page
from gateway.roles import RESTORING, needs_second_factor
from gateway.standing import Stored

#: The pages every other leads to: title, URL name, permission that shows it. A page that is not
#: here belongs to the one whose URL begins its own.
_NAVIGATION = (
    ("Home", "admin:index", ""),
    ("Features", "admin:feature_config_featuresetting_changelist", "view_featuresetting"),
    ("Support matrix", "admin:feature_matrix", "view_featuresetting"),
    ("Deployments", "admin:selfhosted_models_modeldeployment_changelist", "view_modeldeployment"),
    ("Evaluations", "admin:evaluations", "view_evaluationrun"),
    ("Prompts", "admin:prompts", "view_featuresetting"),
    ("Playground", "admin:playground", "change_featuresetting"),
    ("Explain", "admin:explain", "view_featuresetting"),
    ("History", "admin:history", "view_revision"),
    ("Audit", "admin:audit", "view_auditrecord"),
    ("Usage", "admin:usage", "view_usageslice"),
    ("Documentation", "admin:documentation", "view_installedindex"),
    ("Users", "admin:auth_user_changelist", "view_user"),
)

_LOOKING = ("feature_config.view_featuresetting", "selfhosted_models.view_modeldeployment")


class AdminSite(admin.AdminSite):
    site_header = "Self-hosted models for GitLab Duo"
    site_title = "Self-hosted models"
    index_title = "Home"
    site_url = None  # there is no other site to view
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        if not super().has_permission(request):
            return False
        return user.is_verified() or not needs_second_factor(user)

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if super().has_permission(request) and not self.has_permission(request):
            return self._to_second_factor(request)
        response = super().login(request, extra_context)
        if request.method == "POST" and request.user.is_authenticated:
            record(attribution_of_request(request, Origin.WEB), "login.succeeded")
        return response

    def index(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        may_look = request.user.has_perms(_LOOKING)
        context = {"may_look": may_look, **(home(Stored.read()) if may_look else {})}
        return super().index(request, {**context, **(extra_context or {})})

    def _to_second_factor(self, request: HttpRequest) -> HttpResponse:
        query = {REDIRECT_FIELD_NAME: request.GET.get(REDIRECT_FIELD_NAME, "")}
        return HttpResponseRedirect(f"{reverse('admin:second_factor')}?{urlencode(query)}")

    def get_urls(self) -> list[Any]:
        # For those who are half-way in too: they may finish, or leave.
        half_way = [
            path("second-factor/", SecondFactorView.as_view(site=self), name="second_factor"),
            path("logout/", self.logout, name="logout"),
        ]
        return [*half_way, *_own_pages(), *_evaluation_pages(), *super().get_urls()]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        context["navigation"] = self._navigation(request) if context["has_permission"] else []
        return context

    def _navigation(self, request: HttpRequest) -> list[dict[str, Any]]:
        granted = {name.partition(".")[2] for name in request.user.get_all_permissions()}
        here = _section_of(request.path)
        return [
            {"title": title, "url": url, "is_current": url == here}
            for title, name, permission in _NAVIGATION
            if not permission or permission in granted
            for url in [resolve_url(name)]
        ]


def _own_pages() -> list[URLPattern]:
    """Return the pages that are about no one model."""
    history, audit = "gateway.view_revision", "gateway.view_auditrecord"
    features, choosing = (f"feature_config.{verb}_featuresetting" for verb in ("view", "change"))
    return [
        *documentation_urls(),
        path("explain/", guarded(explain_page, features), name="explain"),
        path(
            "playground/",
            guarded(playground_page, choosing, methods=[*LOOK, *SEND]),
            name="playground",
        ),
        path(
            "playground/ask/",
            guarded_async(ask_view, choosing, methods=SEND),
            name="playground_ask",
        ),
        path("history/", guarded(revisions_page, history), name="history"),
        path("history/<int:number>/", guarded(revision_page, history), name="revision"),
        path(
            "history/<int:number>/difference/",
            guarded(difference_page, history),
            name="revision_difference",
        ),
        path(
            "history/<int:number>/restore/",
            guarded(restore_page, history, *RESTORING, methods=SEND),
            name="revision_restore",
        ),
        path("audit/", guarded(audit_page, audit), name="audit"),
        path("audit/verify/", guarded(verify_page, audit, methods=SEND), name="audit_verify"),
        path("audit/export/", guarded(export_page, audit, methods=SEND), name="audit_export"),
        path("usage/", guarded(usage_page, "gateway.view_usageslice"), name="usage"),
        path(
            "usage/requests/", guarded(requests_page, "gateway.view_loggedrequest"), name="requests"
        ),
        path("prompts/", guarded(prompt_pages.prompts, features), name="prompts"),
        path(
            "prompts/<str:prompt>/<str:family>/",
            guarded(prompt_pages.prompt, features),
            name="prompt",
        ),
    ]


def _evaluation_pages() -> list[URLPattern]:
    look, run = "prompts.view_evaluationrun", "prompts.add_evaluationrun"
    every, one = "evaluations/", "evaluations/<int:number>/"
    together = "evaluations/together/<uuid:batch>/"
    start, cancel, resume, cancel_together = (
        guarded(view, run, methods=SEND)
        for view in (
            evaluation_pages.start,
            evaluation_pages.cancel,
            evaluation_pages.resume,
            evaluation_pages.cancel_together,
        )
    )
    return [
        path(every, guarded(evaluation_pages.evaluations, look), name="evaluations"),
        path(f"{every}start/", start, name="evaluation_start"),
        path(together, guarded(evaluation_pages.together, look), name="evaluations_together"),
        path(f"{together}cancel/", cancel_together, name="evaluations_together_cancel"),
        path(one, guarded(evaluation_pages.evaluation, look), name="evaluation"),
        path(f"{one}report/", guarded(evaluation_pages.report, look), name="evaluation_report"),
        path(f"{one}cancel/", cancel, name="evaluation_cancel"),
        path(f"{one}resume/", resume, name="evaluation_resume"),
    ]


def _section_of(request_path: str) -> str:
    """Return the URL of the navigation that a page belongs to: the longest that begins its own."""
    urls = [resolve_url(name) for _, name, _ in _NAVIGATION]
    return max((url for url in urls if request_path.startswith(url)), key=len, default="")
