"""A model field for the base URLs of a deployment."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models

from selfhosted_models.endpoints import Endpoint, UrlPolicy, is_ip_literal, parse_line
from selfhosted_models.errors import EndpointRefused

MAX_ENDPOINTS = 16
#: People paste the URL of an operation; the base URL is what is registered.
_OPERATIONS = ("/completions", "/models", "/generate")


def _require_base_url(endpoint: Endpoint) -> None:
    if endpoint.base_path.endswith(_OPERATIONS):
        raise EndpointRefused(
            f"Leave out what follows /v1: the base URL alone, as in {endpoint.origin}/v1."
        )
    if is_ip_literal(endpoint.host):
        UrlPolicy.check_never_dialled(endpoint.host)


def validate_endpoints(urls: object) -> None:
    """Pass a non-empty list of distinct endpoint URLs; the error names the line at fault."""
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ValidationError("Enter a list of URLs.", code="not_a_list")
    if not 1 <= len(urls) <= MAX_ENDPOINTS:
        raise ValidationError(f"Enter 1 to {MAX_ENDPOINTS} URLs.", code="endpoint_count")
    errors = []
    for number, url in enumerate(urls, start=1):
        try:
            _require_base_url(parse_line(url))
        except EndpointRefused as refusal:
            errors.append(ValidationError(f"URL {number}: {refusal.safe_message}", code="endpoint"))
    if errors:
        raise ValidationError(errors)
    if len({parse_line(url).url for url in urls}) < len(urls):
        raise ValidationError("The same URL is there twice.", code="endpoint_twice")


class LinesFormField(forms.CharField):
    """Edits a list of strings as lines of text."""

    widget = forms.Textarea(attrs={"rows": 3, "cols": 60, "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in (value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != self.to_python(data))


class EndpointsField(models.JSONField):
    """A list of base URLs, edited one a line."""

    default_validators = [*models.JSONField.default_validators, validate_endpoints]

    def formfield(self, **kwargs: Any) -> Any:
        return LinesFormField(
            label=self.verbose_name.capitalize(),
            help_text=self.help_text,
            required=not self.blank,
        )
