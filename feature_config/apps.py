from django.apps import AppConfig
from django.db.models.signals import post_migrate


class FeatureConfigConfig(AppConfig):
    name = "feature_config"
    verbose_name = "Features"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from feature_config import receivers
        from selfhosted_models.signals import deployment_cleaning, families_saved

        post_migrate.connect(receivers.add_missing_settings, sender=self)
        deployment_cleaning.connect(receivers.refuse_unsupported_family)
        families_saved.connect(receivers.copy_families)
