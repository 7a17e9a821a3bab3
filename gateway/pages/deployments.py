"""Deployments in the admin, with what only this app knows: who uses them, what may be dialled."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from gateway.configuration.errors import DeploymentInUse
from gateway.configuration.guards import check_may_be_deactivated, features_using
from gateway.pages.configuration import ConfigurationAdmin
from gateway.pages.probes import ProbingAdmin
from gateway.standing import worst
from selfhosted_models.admin import ModelDeploymentAdmin
from selfhosted_models.endpoints import UrlPolicy, is_ip_literal, parse_endpoint
from selfhosted_models.errors import EndpointRefused
from selfhosted_models.models import ModelDeployment

#: A field of `gateway/configuration_change_form.html`.
_DEACTIVATES_IN_USE = "deactivates_in_use"
#: What a name means without asking DNS; other names are judged when they are dialled.
_WELL_KNOWN = {"localhost": "127.0.0.1"}


class RecordedDeploymentAdmin(ProbingAdmin, ConfigurationAdmin, ModelDeploymentAdmin):
    list_display: Any = (
        *("name", "is_active", "health"),
        *("used_by", "family", "endpoint_list", "has_key"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelDeployment]:
        return super().get_queryset(request).prefetch_related("endpoint_health")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Deployments", **(extra_context or {})})

    @admin.display(description="health")
    def health(self, deployment: ModelDeployment) -> str:
        return worst(row.state for row in deployment.endpoint_health.all())

    def guards_of(self, row: Any) -> dict[str, Any]:
        return {**super().guards_of(row), "used_by": features_using(row)}

    def objections_to(self, request: HttpRequest, row: Any) -> Iterator[ValidationError]:
        yield from super().objections_to(request, row)
        is_deactivated = row.is_active and not request.POST.get("is_active")
        if is_deactivated and not request.POST.get(_DEACTIVATES_IN_USE):
            try:
                check_may_be_deactivated(row)
            except DeploymentInUse as error:
                yield ValidationError(error.safe_message, code=error.code)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for warning in endpoint_warnings(obj):
            self.message_user(request, warning, messages.WARNING)


def endpoint_warnings(row: ModelDeployment) -> Iterator[str]:
    """Yield what the URL policy will say about endpoints when they are dialled."""
    policy = UrlPolicy(settings.UPSTREAM_ALLOWED_CIDRS, settings.UPSTREAM_ALLOWED_HOSTS)
    for url in row.endpoints:
        host = parse_endpoint(url).host
        address = host if is_ip_literal(host) else _WELL_KNOWN.get(host)
        if address is None:
            continue
        try:
            policy.check(host, address)
        except EndpointRefused as refusal:
            yield f"Saved, but {url} will not be asked: {refusal.admin_message}"
