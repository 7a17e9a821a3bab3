"""What people see in place of a page that failed."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views import defaults

_DATABASE_AWAY = """<!doctype html><html lang="en"><title>The database is away</title>
<h1>The database is away</h1>
<p>These pages need it. The gateway goes on answering GitLab from the configuration it holds.
Check that the server of DATABASE_URL runs and can be reached, then load this page again.</p>
</html>"""
_RETRY_AFTER_S = 5


def server_error(request: HttpRequest) -> HttpResponse:
    """Tell a database that is away from a bug; Django calls this while it handles the exception."""
    if isinstance(sys.exception(), OperationalError | InterfaceError):
        return HttpResponse(
            _DATABASE_AWAY, status=503, headers={"Retry-After": str(_RETRY_AFTER_S)}
        )
    return defaults.server_error(request)
