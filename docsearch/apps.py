from django.apps import AppConfig


class DocsearchConfig(AppConfig):
    name = "docsearch"
    verbose_name = "Documentation search"
