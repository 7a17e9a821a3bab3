"""The history: every configuration there was, what led to each, and the way back."""

from django.contrib import messages
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from gateway.audit import Origin, attribution_of_request
from gateway.configuration.applying import rehearse_restore, restore_document
from gateway.configuration.document import Document
from gateway.configuration.errors import ConfigurationError, RevisionUnknown
from gateway.configuration.exporting import data_to_yaml
from gateway.configuration.history import newest_number, revision_of, stored_data
from gateway.configuration.parsing import document_of
from gateway.configuration.planning import difference
from gateway.models import AuditRecord, Revision
from gateway.pages.frame import is_number, newest_first, page
from gateway.roles import RESTORING

MAX_REASON_CHARS = 500


def revisions_page(request: HttpRequest) -> HttpResponse:
    """List the revisions, newest first."""
    records = AuditRecord.objects.only("action", "object_name", "revision_id").order_by("number")
    rows = Revision.objects.defer("document").prefetch_related(Prefetch("audit_records", records))
    found, older = newest_first(rows, request.GET.get("before", ""))
    context = {"revisions": found, "older": older, "newest": newest_number()}
    return page(request, "gateway/revisions.html", "History", context)


def revision_page(request: HttpRequest, number: int) -> HttpResponse:
    """Show one revision: what it changed, and the whole document."""
    revision = _found(number)
    before = revision_of(number - 1).document if number > 1 else Document().to_data()
    context = {
        "revision": revision,
        "changes": difference(before, revision.document),
        "document": data_to_yaml(revision.document),
        "newest": newest_number(),
        "may_restore": request.user.has_perms(RESTORING),
    }
    return page(request, "gateway/revision.html", str(revision), context)


def difference_page(request: HttpRequest, number: int) -> HttpResponse:
    """Show what leads from a revision to another, or to what is stored now."""
    other = request.GET.get("to", "")
    if other and not is_number(other):
        raise Http404
    revision = _found(number)
    after = _found(int(other)).document if other else stored_data()
    context = {
        "revision": revision,
        "other": other,
        "changes": difference(revision.document, after),
        "newest": newest_number(),
        "may_restore": request.user.has_perms(RESTORING),
    }
    to = f"revision {other}" if other else "now"
    return page(request, "gateway/revision_difference.html", f"Revision {number} to {to}", context)


def restore_page(request: HttpRequest, number: int) -> HttpResponse:
    """Tell what going back would change; with `confirmed`, go back."""
    revision = _found(number)
    reason = request.POST.get("reason", "").strip()[:MAX_REASON_CHARS]
    by = attribution_of_request(
        request, Origin.WEB, reason or f"Restored the configuration of revision {number}."
    )
    looked_at = request.POST.get("confirmed")  # the newest revision when it was asked
    is_confirmed = looked_at == str(newest_number())
    restore = restore_document if is_confirmed else rehearse_restore
    try:
        outcome = restore(document_of(revision.document), by)
    except ConfigurationError as error:
        messages.error(request, f"Revision {number} cannot be restored: {error.safe_message}")
        return _to_revision(number)
    if not outcome.changes:
        messages.info(request, f"Nothing to restore: this is what revision {number} says.")
        return _to_revision(number)
    if not is_confirmed:
        context = {
            "revision": revision,
            "changes": outcome.changes,
            "notes": outcome.notes,
            "newest": newest_number(),
            "is_stale": looked_at is not None,
            "reason": reason,
        }
        return page(request, "gateway/restore.html", f"Go back to revision {number}?", context)
    messages.success(request, f"Restored revision {number}.")
    for note in outcome.notes:
        messages.warning(request, note)
    return _to_revision(outcome.revision.number if outcome.revision else number)


def _found(number: int) -> Revision:
    try:
        return revision_of(number)
    except RevisionUnknown as error:
        raise Http404 from error


def _to_revision(number: int) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:revision", args=[number]))
