from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from selfhosted_models.forms import ModelDeploymentForm
from selfhosted_models.models import ModelDeployment


class ModelDeploymentAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = ModelDeploymentForm
    list_display = ("name", "is_active", "used_by", "family", "endpoint_list", "has_key")
    list_filter = ("is_active", "family", "serving_format")
    search_fields = ("name", "model_identifier")
    fieldsets: ClassVar = [
        (None, {"fields": ["name", "family", "is_active"]}),
        (
            "Server",
            {"fields": ["serving_format", "endpoints", "model_identifier", "api_key"]},
        ),
        (
            "Limits",
            {
                "fields": [
                    "context_tokens",
                    "max_in_flight",
                    "first_token_timeout_s",
                    "idle_timeout_s",
                    "total_timeout_s",
                ]
            },
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelDeployment]:
        return super().get_queryset(request).prefetch_related("choices__setting")

    def get_fieldsets(self, request: HttpRequest, obj: ModelDeployment | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not obj.has_api_key:
            return fieldsets
        server = fieldsets[1][1]["fields"]
        with_removal = (fieldsets[1][0], {"fields": [*server, "remove_api_key"]})
        return [fieldsets[0], with_removal, *fieldsets[2:]]

    @admin.display(description="endpoints")
    def endpoint_list(self, deployment: ModelDeployment) -> str:
        return ", ".join(deployment.endpoints)

    @admin.display(description="API key")
    def has_key(self, deployment: ModelDeployment) -> str:
        return "stored" if deployment.has_api_key else "none"

    @admin.display(description="used by")
    def used_by(self, deployment: ModelDeployment) -> str:
        return ", ".join(str(choice.setting) for choice in deployment.choices.all()) or "-"
