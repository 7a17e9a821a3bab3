"""Looking for records of the audit trail, and taking them along."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.db.models import QuerySet

from gateway.audit import Origin
from gateway.models import AuditRecord

#: Of one export; older records are found by their date.
MAX_EXPORTED = 50_000
#: A spreadsheet would run what begins so.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_DATE = forms.DateInput(attrs={"type": "date"})
_LOOKUPS = {
    "author": "author__iexact",
    "action": "action__istartswith",
    "object_name": "object_name__icontains",
    "origin": "origin",
    "since": "created_at__date__gte",
    "until": "created_at__date__lte",
}


class AuditSearch(forms.Form):
    """What is asked for on the page of the trail; bound to the query of its URL."""

    author = forms.CharField(label="Who", required=False)
    action = forms.CharField(
        label="What", required=False, help_text="As in deployment or login.failed."
    )
    object_name = forms.CharField(label="To what", required=False)
    origin = forms.ChoiceField(
        label="Which way",
        required=False,
        choices=[("", "Any"), *((origin, origin) for origin in Origin)],
    )
    since = forms.DateField(label="From", required=False, widget=_DATE)
    until = forms.DateField(label="To", required=False, widget=_DATE)

    def found(self) -> QuerySet[AuditRecord]:
        """Return the records that fit; none while something cannot be read."""
        if not self.is_valid():
            return AuditRecord.objects.none()
        asked = {_LOOKUPS[name]: value for name, value in self.cleaned_data.items() if value}
        return AuditRecord.objects.filter(**asked)


def to_json(records: Iterable[Mapping[str, Any]]) -> str:
    return json.dumps(list(records), indent=1, default=str)


def to_csv(records: Iterable[Mapping[str, Any]]) -> str:
    """Return records as a table with a head; what a spreadsheet would run is made text."""
    text = io.StringIO()
    writer = csv.writer(text)
    for number, record in enumerate(records):
        if number == 0:
            writer.writerow(record)
        writer.writerow(_cell(value) for value in record.values())
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    words = json.dumps(value) if isinstance(value, dict | list) else str(value)
    return f"'{words}" if words.startswith(_FORMULA_STARTS) else words


def exported(rows: QuerySet[AuditRecord]) -> list[dict[str, Any]]:
    """Return the newest `MAX_EXPORTED` of some records, with all their columns."""
    columns = [field.attname for field in AuditRecord._meta.concrete_fields]
    return list(rows.order_by("-number").values(*columns)[:MAX_EXPORTED])
