"""The audit trail: who did what, when, from where; searched, taken along, verified."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest

from gateway.audit import HEAD, Origin, Verification, attribution_of_request, record, verify
from gateway.configuration.planning import words_of_fields
from gateway.pages.audit_search import MAX_EXPORTED, AuditSearch, exported, to_csv, to_json
from gateway.pages.frame import newest_first, page

_FORMATS = {"csv": (to_csv, "text/csv; charset=utf-8"), "json": (to_json, "application/json")}


def audit_page(request: HttpRequest) -> HttpResponse:
    return _page(request)


def verify_page(request: HttpRequest) -> HttpResponse:
    """Look through the whole history, and say what was found above the list."""
    head = request.POST.get("head", "").strip()
    if head and not HEAD.fullmatch(head):
        return _page(request, head=head, head_error="A head is NUMBER:HASH, as it was shown here.")
    return _page(request, head=head, verification=verify(head))


def _page(
    request: HttpRequest,
    *,
    head: str = "",
    head_error: str = "",
    verification: Verification | None = None,
) -> HttpResponse:
    search = AuditSearch(request.GET)
    rows, older = newest_first(search.found(), request.GET.get("before", ""))
    asked = request.GET.copy()
    asked.pop("before", None)
    context: dict[str, Any] = {
        "form": search,
        "records": [(row, words_of_fields(row.changes)) for row in rows],
        "older": older,
        "query": asked.urlencode(),
        "is_searching": any(asked.values()),
        "max_exported": f"{MAX_EXPORTED:,}",
        "head": head,
        "head_error": head_error,
        "verification": verification,
    }
    return page(request, "gateway/audit.html", "Audit trail", context)


def export_page(request: HttpRequest) -> HttpResponse:
    """Send what the search of the query finds as a file; that it was taken is on record."""
    wanted = request.POST.get("format", "")
    if wanted not in _FORMATS:
        return HttpResponseBadRequest("The format is csv or json.")
    found = exported(AuditSearch(request.GET).found())
    record(
        attribution_of_request(request, Origin.WEB),
        "audit.exported",
        changes={"records": (None, len(found)), "query": (None, request.GET.urlencode()[:500])},
    )
    write, content_type = _FORMATS[wanted]
    return HttpResponse(
        write(found),
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="audit.{wanted}"'},
    )
