"""What this app has to say when something changes below it."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError

from feature_config.catalogue import Feature, own_prompts
from prompts.errors import PromptError
from prompts.loader import shipped_prompts
from prompts.registry import variants_for
from selfhosted_models.families import ModelFamily


def refuse_missing_version(
    *, feature: Feature, families: Sequence[ModelFamily], prompt_version: str, **_: Any
) -> None:
    """Refuse a version of a feature's prompt that there is not for every family chosen."""
    if not prompt_version:
        return
    registry = shipped_prompts().registry
    for prompt in own_prompts(feature):
        for family in families or (ModelFamily.GENERAL,):
            try:
                registry.find(prompt, variants_for(family, None), prompt_version)
            except PromptError as error:
                raise ValidationError(error.safe_message, code=error.code) from error
