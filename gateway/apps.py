from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.db.models.signals import post_delete, post_save


class AdminPagesConfig(admin_apps.AdminConfig):
    """Django's admin with a site of our own."""

    default = False
    default_site = "gateway.pages.site.AdminSite"


class GatewayConfig(AppConfig):
    default = True
    name = "gateway"
    verbose_name = "AI Gateway"

    def ready(self) -> None:
        from feature_config.models import FeatureChoice, FeatureSetting
        from gateway import checks  # noqa: F401 - registers them
        from gateway.configuration.change_hints import announce_change
        from gateway.configuration.history import record_unattributed_change
        from gateway.models import Revision
        from selfhosted_models.models import ModelDeployment

        # A choice has no hook for its deletion: `assign` deletes those it is about to replace.
        for model in (ModelDeployment, FeatureSetting, FeatureChoice):
            post_save.connect(record_unattributed_change, sender=model)
        post_delete.connect(record_unattributed_change, sender=ModelDeployment)
        post_save.connect(announce_change, sender=Revision)
