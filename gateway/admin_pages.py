"""What every page of our own has in common: its frame, and the guard at its door."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods

LOOK = ("GET", "HEAD")
SEND = ("POST",)


def guarded(
    view: Callable[..., HttpResponse], permission: str, methods: Sequence[str] = LOOK
) -> Callable[..., HttpResponse]:
    """Return `view` for those who are inside and may.

    Args:
        view: Takes the request, and what its route captures by name.
        permission: As in `feature_config.view_featuresetting`.
        methods: The others are refused, whoever asks.
    """

    def checked(request: HttpRequest, **captured: Any) -> HttpResponse:
        if not request.user.has_perm(permission):
            raise PermissionDenied
        return view(request, **captured)

    return admin.site.admin_view(require_http_methods([*methods])(checked))


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
