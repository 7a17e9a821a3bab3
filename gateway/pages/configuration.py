"""What every page that writes the configuration does: record the change, overwrite nobody's."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from gateway.audit import Origin, attribution_of_request
from gateway.configuration.errors import ChangeConflict, HistoryBusy, ManagedByFile
from gateway.configuration.guards import (
    Row,
    check_not_managed_by_file,
    check_unchanged,
    differs_from_file,
    version_of,
)
from gateway.configuration.history import changing_configuration

#: Fields of `gateway/configuration_change_form.html`.
_SEEN_VERSION = "seen_version"
_OVERRIDES_FILE = "overrides_file"


class ConfigurationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Wraps what writes into a recorded change, and guards the row it is about."""

    change_form_template = "gateway/configuration_change_form.html"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        def view() -> HttpResponse:
            context = {**(extra_context or {}), **self._guards(request, object_id)}
            return super(ConfigurationAdmin, self).changeform_view(
                request, object_id, form_url, context
            )

        return self.recorded(request, view)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        return self.recorded(
            request, partial(super().delete_view, request, object_id, extra_context)
        )

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return self.recorded(request, partial(super().changelist_view, request, extra_context))

    def recorded(self, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
        """Make what a POST does one recorded change."""
        if request.method != "POST":
            return view()
        try:
            with changing_configuration(attribution_of_request(request, Origin.WEB)):
                return view()
        except HistoryBusy as error:
            self.message_user(request, error.safe_message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def _guards(self, request: HttpRequest, object_id: str | None) -> dict[str, Any]:
        """Return what the page says of the row as it is stored, before a form writes to it."""
        row = self.get_object(request, unquote(object_id)) if object_id else None
        if row is None:
            return {}
        return self.guards_of(row)

    def guards_of(self, row: Any) -> dict[str, Any]:
        """Return what the page says of a row; admins of one kind of row have more to say."""
        return {
            _SEEN_VERSION: version_of(row),
            "is_managed_by_file": row.is_managed_by_file,
            "differs_from_file": differs_from_file(row),
        }

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if request.method != "POST" or obj is None:
            return form
        objections = list(self.objections_to(request, obj))  # now: the form will write to the row

        class GuardedForm(form):  # type: ignore[misc, valid-type]
            def clean(self) -> Any:
                cleaned = super().clean()
                for objection in objections:
                    self.add_error(None, objection)
                return cleaned

        return GuardedForm

    def objections_to(self, request: HttpRequest, row: Any) -> Iterator[ValidationError]:
        """Yield what speaks against saving the page that was posted."""
        try:
            if seen := request.POST.get(_SEEN_VERSION):
                check_unchanged(row, seen)
            if not request.POST.get(_OVERRIDES_FILE):
                check_not_managed_by_file(row)
        except (ChangeConflict, ManagedByFile) as error:
            yield ValidationError(error.safe_message, code=error.code)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is not None and obj.is_managed_by_file:
            return False  # it goes with its lines in the file
        return super().has_delete_permission(request, obj)

    def get_list_display(self, request: HttpRequest) -> Any:
        return [*super().get_list_display(request), "managed_by"]

    @admin.display(description="managed by")
    def managed_by(self, row: Row) -> str:
        if not row.is_managed_by_file:
            return "web"
        return "file, changed here since" if differs_from_file(row) else "file"
