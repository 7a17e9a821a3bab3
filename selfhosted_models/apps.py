from django.apps import AppConfig


class SelfhostedModelsConfig(AppConfig):
    name = "selfhosted_models"
    verbose_name = "Self-hosted models"
    default_auto_field = "django.db.models.BigAutoField"
