from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from feature_config.catalogue import Feature, describe_level
from feature_config.forms import FeatureSettingForm
from feature_config.models import FeatureSetting
from selfhosted_models.families import ModelFamily


class FeatureSettingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = FeatureSettingForm
    list_display = (
        *("title", "answered_by", "support", "prompt_version"),
        *("default_elsewhere", "scope", "updated_at"),
    )
    list_display_links = ("title",)
    ordering = ("feature",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # the catalogue says which features there are

    def has_delete_permission(
        self, request: HttpRequest, obj: FeatureSetting | None = None
    ) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[FeatureSetting]:
        return super().get_queryset(request).prefetch_related("choices__deployment")

    def get_fields(self, request: HttpRequest, obj: FeatureSetting | None = None) -> Any:
        """The form makes its fields for the feature at hand, so the class does not know them."""
        return list(FeatureSettingForm(instance=obj).fields) if obj else []

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        return FeatureSettingForm

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        form.apply()

    @admin.display(description="feature", ordering="feature")
    def title(self, setting: FeatureSetting) -> str:
        return setting.facts.title

    @admin.display(description="answered by")
    def answered_by(self, setting: FeatureSetting) -> str:
        if setting.is_inactive:
            return "Inactive"
        names = [
            choice.deployment.name + ("" if choice.deployment.is_active else " (inactive)")
            for choice in setting.choices.all()
        ]
        return ", then ".join(names) or "Unassigned"

    @admin.display(description="support")
    def support(self, setting: FeatureSetting) -> str:
        first = next(iter(setting.choices.all()), None)
        if first is None:
            return "-"
        return describe_level(Feature(setting.feature), ModelFamily(first.family))

    @admin.display(description="answered elsewhere by")
    def default_elsewhere(self, setting: FeatureSetting) -> str:
        return setting.facts.default_elsewhere

    @admin.display(description="token scope")
    def scope(self, setting: FeatureSetting) -> str:
        return setting.facts.unit_primitive
