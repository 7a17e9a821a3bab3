from django.apps import AppConfig
from django.db.models.signals import post_migrate, post_save


class FeatureConfigConfig(AppConfig):
    name = "feature_config"
    verbose_name = "Features"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from feature_config import receivers
        from selfhosted_models.models import ModelDeployment
        from selfhosted_models.signals import deployment_cleaning

        post_migrate.connect(receivers.add_missing_settings, sender=self)
        deployment_cleaning.connect(receivers.refuse_unsupported_family)
        post_save.connect(receivers.copy_family, sender=ModelDeployment)
