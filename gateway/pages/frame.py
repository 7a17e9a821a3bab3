"""What every page of our own has in common: its frame, and the guard at its door."""

from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods

LOOK = ("GET", "HEAD")
SEND = ("POST",)
PAGE_SIZE = 50
#: Of the number of a row: every database takes as many.
MAX_DIGITS = 18


def guarded(
    view: Callable[..., HttpResponse], *permissions: str, methods: Sequence[str] = LOOK
) -> Callable[..., HttpResponse]:
    """Return `view` for those who are inside and may.

    Args:
        view: Takes the request, and what its route captures by name.
        permissions: All are needed; one is as in `feature_config.view_featuresetting`.
        methods: The others are refused, whoever asks.
    """

    def checked(request: HttpRequest, **captured: Any) -> HttpResponse:
        if not request.user.has_perms(permissions):
            raise PermissionDenied
        return view(request, **captured)

    return admin.site.admin_view(require_http_methods([*methods])(checked))


def guarded_async(
    view: Callable[..., Coroutine[Any, Any, HttpResponseBase]],
    *permissions: str,
    methods: Sequence[str] = LOOK,
) -> Callable[..., Coroutine[Any, Any, HttpResponseBase]]:
    """Return an asynchronous `view` for those who are inside and may; it answers no login form."""

    async def checked(request: HttpRequest, **captured: Any) -> HttpResponseBase:
        def may() -> bool:
            return admin.site.has_permission(request) and request.user.has_perms(permissions)

        if not await sync_to_async(may)():
            raise PermissionDenied
        return await view(request, **captured)

    return require_http_methods([*methods])(checked)


def page(
    request: HttpRequest,
    template: str,
    title: str,
    context: dict[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
) -> TemplateResponse:
    """Return a page with what stands around every page."""
    frame = {**admin.site.each_context(request), "title": title}
    return TemplateResponse(request, template, {**frame, **context}, status=status)


def is_number(text: str) -> bool:
    """Tell whether what somebody put into a URL or form is the number of a row."""
    return text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS


def newest_first(rows: QuerySet[Any], before: str) -> tuple[list[Any], int | None]:
    """Return a page of numbered rows, and where the next one begins; None if it is the last.

    Args:
        rows: All there are to show.
        before: Number of the row that the page before ended with; anything else is the beginning.
    """
    if is_number(before):
        rows = rows.filter(pk__lt=int(before))
    found = list(rows.order_by("-pk")[: PAGE_SIZE + 1])
    is_last = len(found) <= PAGE_SIZE
    return found[:PAGE_SIZE], None if is_last else found[PAGE_SIZE - 1].pk
