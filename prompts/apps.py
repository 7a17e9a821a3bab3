from django.apps import AppConfig


class PromptsConfig(AppConfig):
    name = "prompts"
    label = "prompts"
    verbose_name = "Prompts"

    def ready(self) -> None:
        from prompts import checks  # noqa: F401 (importing registers the check)
