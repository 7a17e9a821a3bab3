"""The prompts in the admin: which there are, one filled in, and what differs between two."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse

from feature_config.catalogue import FEATURES, PROMPT_IDS, WIRE_PROMPTS, Feature, support_level
from feature_config.models import FeatureSetting
from gateway.pages.frame import page
from prompts.errors import PromptError
from prompts.loader import shipped_prompts
from prompts.preview import difference_of, preview
from prompts.registry import PromptRegistry, variants_for
from prompts.samples import SAMPLES
from selfhosted_models.families import FAMILIES, ModelFamily
from selfhosted_models.models import ModelDeployment


def prompts(request: HttpRequest) -> HttpResponse:
    """Show every prompt with the versions each family has."""
    registry = shipped_prompts().registry
    features = [(facts.title, feature.value) for feature, facts in FEATURES.items()]
    further = [
        (prompt_id, wire_prompt.prompt)
        for prompt_id, wire_prompt in WIRE_PROMPTS.items()
        if wire_prompt.prompt not in tuple(Feature)
    ]
    context = {
        "families": [FAMILIES[family] for family in ModelFamily],
        "groups": [
            ("Prompts of the features", [_row(registry, *item) for item in features]),
            ("Further prompts that GitLab asks for", [_row(registry, *item) for item in further]),
        ],
    }
    return page(request, "gateway/prompts.html", "Prompts", context)


def _row(registry: PromptRegistry, title: str, prompt: str) -> dict[str, Any]:
    cells = [
        {
            "family": family,
            "family_title": FAMILIES[family].title,
            "versions": registry.versions(prompt, family.value),
            "is_selectable": prompt not in tuple(Feature)
            or support_level(Feature(prompt), family).is_selectable,
        }
        for family in ModelFamily
    ]
    return {"title": title, "prompt": prompt, "prompt_id": PROMPT_IDS[prompt], "cells": cells}


def prompt(request: HttpRequest, prompt: str, family: str) -> HttpResponse:
    """Show a prompt filled in with samples, and how it differs from another version or family.

    Query: `version` and `deployment` choose what is shown; `to_family` and `to_version` with what
    it is compared.
    """
    registry = shipped_prompts().registry
    if family not in tuple(ModelFamily) or not registry.has(prompt):
        raise Http404
    setting = FeatureSetting.objects.filter(pk=prompt).first()
    deployments = list(ModelDeployment.objects.filter(family=family).order_by("name"))
    chosen = next((row for row in deployments if row.name == request.GET.get("deployment")), None)
    asked = {
        name: request.GET.get(name, "")
        for name in ("version", "to_family", "to_version", "deployment")
    }
    shown: dict[str, Any] | None = None
    told, difference = "", None
    try:
        shown = _preview(registry, prompt, family, asked["version"], setting, chosen)
        if asked["to_family"] or asked["to_version"]:
            other = _preview(
                registry,
                prompt,
                asked["to_family"] or family,
                asked["to_version"],
                None if asked["to_version"] else setting,
                chosen,
            )
            difference = difference_of(shown, other)
    except PromptError as error:
        told = error.safe_message
    context = {
        "prompt": prompt,
        "family": FAMILIES[ModelFamily(family)],
        "families": [(item, FAMILIES[item].title) for item in ModelFamily if item != family],
        "versions": registry.versions(prompt, _variant(registry, prompt, family)),
        "deployments": deployments,
        "asked": asked,
        "pin": setting.prompt_version if setting else "",
        "shown": shown,
        "told": told,
        "difference": [(_tone(line), line) for line in difference or ()],
        "is_compared": difference is not None,
    }
    title = (
        FEATURES[Feature(prompt)].title
        if prompt in tuple(Feature)
        else PROMPT_IDS.get(prompt, prompt)
    )
    return page(
        request, "gateway/prompt.html", f"{title}, {FAMILIES[ModelFamily(family)].title}", context
    )


def _preview(
    registry: PromptRegistry,
    prompt: str,
    family: str,
    version: str,
    setting: FeatureSetting | None,
    deployment: ModelDeployment | None,
) -> dict[str, Any]:
    if family not in tuple(ModelFamily):
        raise Http404
    return preview(
        registry,
        prompt,
        ModelFamily(family),
        SAMPLES,
        context_tokens=deployment.context_tokens if deployment else None,
        constraint=version or None,
        pin=setting.prompt_version if setting and not version else None,
    )


def _variant(registry: PromptRegistry, prompt: str, family: str) -> str:
    known = registry.variants(prompt)
    return next((name for name in variants_for(ModelFamily(family), None) if name in known), family)


def _tone(line: str) -> str:
    """Return the look of a line of a difference."""
    if line.startswith(("+++", "---", "@@")):
        return "quiet"
    return {"+": "added", "-": "gone"}.get(line[:1], "")
