from django.apps import AppConfig


class PromptsConfig(AppConfig):
    name = "prompts"
    label = "prompts"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Prompts"

    def ready(self) -> None:
        from feature_config.signals import prompt_version_cleaning
        from prompts import checks, receivers  # noqa: F401 (importing registers the check)

        prompt_version_cleaning.connect(receivers.refuse_missing_version)
