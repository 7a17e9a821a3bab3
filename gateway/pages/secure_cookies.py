"""Cookies keep their `Secure` flag, except where a browser on this machine could not use them."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

_LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}


def plain_http_on_loopback(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: let someone who tries the product out on http://127.0.0.1:8000 log in."""

    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not request.is_secure() and _host_of(request) in _LOOPBACK:
            for cookie in response.cookies.values():
                cookie["secure"] = ""
        return response

    return respond


def _host_of(request: HttpRequest) -> str:
    host = request.headers.get("Host", "")
    return host if host.endswith("]") else host.rpartition(":")[0] or host
