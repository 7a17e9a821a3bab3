"""What people see instead of a page: which hop failed, and what to do about it."""

import sys
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from gateway.audit import Attribution, Origin, attribution_of_request, record

_RETRY_AFTER_S = 5


def _page(status: HTTPStatus, title: str, what: str, remedy: str) -> HttpResponse:
    context = {"title": title, "what": what, "remedy": remedy, "status": int(status)}
    # Without the request: its user and session may be what cannot be read.
    page = render_to_string("gateway/error.html", context)
    return HttpResponse(page, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(
        HTTPStatus.BAD_REQUEST,
        "This request cannot be read",
        "The server does not answer to this host name, or the form was incomplete.",
        "If the address is right, add its host name to ALLOWED_HOSTS.",
    )


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(
        HTTPStatus.FORBIDDEN,
        "Your role does not allow this",
        "You are logged in, and what you asked for takes another role.",
        "A security officer can give you the role, under Users.",
    )


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(
        HTTPStatus.NOT_FOUND,
        "There is no such page",
        "The address is mistyped, or what it showed was deleted.",
        "The home page leads to everything there is.",
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Tell a database that is away from a bug; Django calls this while it handles the exception."""
    if isinstance(sys.exception(), OperationalError | InterfaceError):
        page = _page(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The database is away",
            "These pages need it. The gateway goes on answering GitLab from the configuration it "
            "holds.",
            "Check that the server of DATABASE_URL runs and can be reached, then load this page "
            "again.",
        )
        page["Retry-After"] = str(_RETRY_AFTER_S)
        return page
    return _page(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong here",
        "This is a fault of the product. What you were about to save was not saved.",
        "The server's log has the details: look for the newest line of level error.",
    )


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    remedy = "Go back, load the page again, and repeat what you did."
    if not request.is_secure() and settings.SESSION_COOKIE_SECURE:
        remedy = (
            "Open the pages by https://. Over plain http a browser keeps no secure cookie; where "
            "there is no TLS, SECURE_COOKIES=0 makes do without."
        )
    return _page(
        HTTPStatus.FORBIDDEN,
        "This form is out of date",
        "The browser sent it without the cookie that belongs to it; nothing was saved.",
        remedy,
    )


def locked_out(
    request: HttpRequest, response: HttpResponse | None, credentials: dict[str, Any] | None
) -> HttpResponse:
    """Refuse a login from an address that guessed too often; the first time is put on record."""
    username = str((credentials or {}).get("username", ""))
    if getattr(request, "axes_failures_since_start", None) == settings.AXES_FAILURE_LIMIT:
        where = attribution_of_request(request, Origin.WEB)
        record(
            Attribution("", Origin.WEB, "", where.source_address, where.request_id),
            "login.locked_out",
            object_name=username,
        )
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    refusal = _page(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many wrong passwords",
        "This user cannot log in from this address for now.",
        f"Wait {minutes} minutes, or have someone at the server run: manage.py axes_reset_username "
        "USER",
    )
    refusal["Retry-After"] = str(minutes * 60)
    return refusal
