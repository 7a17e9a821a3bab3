"""The admin's pages about the documentation: its indexes, a search, and its questions."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.urls import path

from docsearch.backend import SearchBackend
from docsearch.errors import DocsIndexError
from docsearch.golden import AMONG_FIRST
from docsearch.models import CheckRequest, GoldenQuestion, UnansweredQuestion
from docsearch.query import MAX_QUERY_CHARS
from docsearch.results import SearchResult
from docsearch.signing import load_signing_key, public_text
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from gateway.audit import Origin, attribution_of_request, record
from gateway.documentation.indexes import (
    history,
    installed_indexes,
    recent_looks,
    roll_back,
)
from gateway.documentation.local import local_backend
from gateway.documentation.wanted_version import wanted_version
from gateway.pages.frame import SEND, guarded, is_number, page
from gateway.rest.authentication import RUNTIME_IN_SCOPE
from gateway.runtime import Runtime

_LOOK = "docsearch.view_installedindex"
_CHANGE = "docsearch.change_installedindex"
_CHANGE_GOLDEN = "docsearch.change_goldenquestion"
_CHANGE_UNANSWERED = "docsearch.change_unansweredquestion"
#: Of the worklist; the rest is there once these are dealt with.
_SHOWN = 100


def documentation_urls() -> list[Any]:
    """Return the routes of these pages, below the admin's own."""
    return [
        path("documentation/", guarded(_indexes, _LOOK), name="documentation"),
        path(
            "documentation/check/",
            guarded(_check, _CHANGE, methods=SEND),
            name="documentation_check",
        ),
        path(
            "documentation/rollback/",
            guarded(_roll_back, _CHANGE, methods=SEND),
            name="documentation_rollback",
        ),
        path("documentation/search/", guarded(_search, _LOOK), name="documentation_search"),
        path(
            "documentation/questions/", guarded(_questions, _LOOK), name="documentation_questions"
        ),
        path(
            "documentation/questions/add/",
            guarded(_add_golden, _CHANGE_GOLDEN, methods=SEND),
            name="documentation_add_golden",
        ),
        path(
            "documentation/questions/remove/",
            guarded(_remove_golden, _CHANGE_GOLDEN, methods=SEND),
            name="documentation_remove_golden",
        ),
        path(
            "documentation/questions/deal-with/",
            guarded(_deal_with, _CHANGE_UNANSWERED, methods=SEND),
            name="documentation_deal_with",
        ),
    ]


# --- Indexes --------------------------------------------------------------------------------------


def _indexes(request: HttpRequest) -> HttpResponse:
    looks = [*recent_looks()]
    context = {
        "wanted": settings.GITLAB_VERSION,
        "has_registry": bool(settings.DOCS_REGISTRY_URL),
        "has_engine": bool(settings.DOCS_SEARCH_URL),
        "is_hybrid": bool(settings.DOCS_HYBRID),
        "indexes": installed_indexes(_store()),
        "own_key": public_text(load_signing_key(settings.DOCS_SIGNING_KEY).public_key()),
        "looks": looks,
        "is_busy": CheckRequest.objects.is_recent() or any(look.is_under_way for look in looks),
        "history": history(),
        "unanswered_count": UnansweredQuestion.objects.open().count(),
        "can_change": request.user.has_perm(_CHANGE),
    }
    return page(request, "gateway/documentation.html", "Documentation", context)


def _check(request: HttpRequest) -> HttpResponseRedirect:
    if not settings.DOCS_REGISTRY_URL:
        messages.error(request, "No package registry is named: set DOCS_REGISTRY_URL.")
    else:
        CheckRequest.objects.ask()
        record(attribution_of_request(request, Origin.WEB), "docs_index.check_asked")
        messages.success(request, "Every node looks within seconds. This page follows it.")
    return redirect("admin:documentation")


def _roll_back(request: HttpRequest) -> HttpResponseRedirect:
    try:
        version = GitLabVersion.parse(request.POST.get("version", ""))
        roll_back(_store(), version)
    except DocsIndexError as error:
        messages.error(request, error.safe_message)
    else:
        by = attribution_of_request(request, Origin.WEB)
        record(by, "docs_index.rolled_back", object_name=str(version))
        messages.success(
            request, f"GitLab {version}: the index before answers again. Once more undoes it."
        )
    return redirect("admin:documentation")


# --- Search ---------------------------------------------------------------------------------------


def _search(request: HttpRequest) -> HttpResponse:
    question = request.GET.get("q", "")[:MAX_QUERY_CHARS]
    installed = [str(version) for version in reversed(_store().installed())]
    version = request.GET.get("version", "")
    context = {
        "question": question,
        "version": version,
        "versions": installed,
        "result": search_result(request, question, version) if question.strip() else None,
        "can_try": request.user.has_perm("feature_config.change_featuresetting"),
    }
    return page(request, "gateway/documentation_search.html", "Search the documentation", context)


def search_result(request: HttpRequest, question: str, version: str = "") -> SearchResult:
    """Answer a question as Duo Chat's tool is answered.

    Args:
        request: Of a page.
        question: Anything at all; what is too long is cut.
        version: Of the documentation; what is not installed is as if it were not named.
    """
    is_installed = version in map(str, _store().installed())
    wanted = wanted_version(version if is_installed else None)
    return _backend(request).search(question[:MAX_QUERY_CHARS], wanted_version=wanted)


# --- Questions ------------------------------------------------------------------------------------


class GoldenForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = GoldenQuestion
        fields = ("question", "page", "anchor")


def _questions(
    request: HttpRequest,
    form: GoldenForm | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    context = {
        "form": form or GoldenForm(initial={"question": request.GET.get("question", "")[:300]}),
        "golden": GoldenQuestion.objects.all(),
        "among_first": AMONG_FIRST,
        "indexes": installed_indexes(_store()),
        "unanswered": UnansweredQuestion.objects.open()[:_SHOWN],
        "kept": settings.DOCS_UNANSWERED_QUESTIONS,
        "can_change": request.user.has_perm(_CHANGE_GOLDEN),
        "can_deal": request.user.has_perm(_CHANGE_UNANSWERED),
    }
    title = "Questions"
    return page(request, "gateway/documentation_questions.html", title, context, status)


def _add_golden(request: HttpRequest) -> HttpResponse:
    form = GoldenForm(request.POST)
    if not form.is_valid():
        return _questions(request, form, HTTPStatus.UNPROCESSABLE_ENTITY)
    question = form.save()
    by = attribution_of_request(request, Origin.WEB)
    record(by, "golden_question.added", object_name=question.question[:150])
    messages.success(request, "Added. Every index is asked it within a minute.")
    return redirect("admin:documentation_questions")


def _remove_golden(request: HttpRequest) -> HttpResponseRedirect:
    chosen = _numbers(request.POST.getlist("question"))
    question = get_object_or_404(GoldenQuestion, pk__in=chosen[:1])
    question.delete()
    by = attribution_of_request(request, Origin.WEB)
    record(by, "golden_question.removed", object_name=question.question[:150])
    messages.success(request, f"Removed: {question}")
    return redirect("admin:documentation_questions")


def _deal_with(request: HttpRequest) -> HttpResponseRedirect:
    chosen = UnansweredQuestion.objects.filter(pk__in=_numbers(request.POST.getlist("questions")))
    count = chosen.deal_with()
    messages.success(request, f"{count} off the worklist.")
    return redirect("admin:documentation_questions")


def _numbers(texts: Iterable[str]) -> list[int]:
    return [int(text) for text in texts if is_number(text)]


def _store() -> IndexStore:
    return IndexStore.below(settings.DATA_DIR)


def _backend(request: HttpRequest) -> SearchBackend:
    runtime: Runtime | None = getattr(request, "scope", {}).get(RUNTIME_IN_SCOPE)
    if runtime:
        return runtime.docs.backend
    return local_backend(_store(), is_hybrid=bool(settings.DOCS_HYBRID))
