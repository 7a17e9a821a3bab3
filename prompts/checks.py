"""What is wrong in the prompt definitions, said by `manage.py check`."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from prompts.loader import DefinitionProblem, shipped_prompts


@register()
def check_definitions(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Return an error for each problem the loader found."""
    return [error_of(problem) for problem in shipped_prompts().problems]


def error_of(problem: DefinitionProblem) -> Error:
    """Return the system check message that tells of a problem."""
    hint = "Correct the file. Until then the definitions that need it are left out."
    return Error(str(problem), hint=hint, id="prompts.E001")
