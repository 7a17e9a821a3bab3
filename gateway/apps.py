from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class GatewayConfig(AppConfig):
    name = "gateway"
    verbose_name = "AI Gateway"

    def ready(self) -> None:
        from feature_config.models import FeatureSetting
        from gateway import checks  # noqa: F401 - registers them
        from gateway.change_hints import announce_change
        from selfhosted_models.models import ModelDeployment

        for model in (ModelDeployment, FeatureSetting):
            post_save.connect(announce_change, sender=model)
            post_delete.connect(announce_change, sender=model)
