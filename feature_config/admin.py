from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from feature_config.forms import FeatureSettingForm
from feature_config.models import FeatureSetting


class FeatureSettingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The page of one feature; that of all is above, where more is known."""

    form = FeatureSettingForm

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
