"""Which prompts there are: rows for machines, and the page `docs/prompts.md`. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

from feature_config.catalogue import FEATURES, PROMPT_IDS, WIRE_PROMPTS, Feature, support_level
from prompts.definition import InputSpec, PromptDefinition
from prompts.registry import PromptRegistry
from selfhosted_models.families import FAMILIES, ModelFamily

_INTRODUCTION = """\
# Prompts

Which version of which prompt there is for each feature and model family, what it takes and what it
answers with. Written by `make docs` from [`prompts/definitions/`](../prompts/definitions/), whose
format is told in [`prompts/README.md`](../prompts/README.md). One filled in is shown by
`manage.py show_prompt FEATURE --family F`.

A required input is **bold**. Limits are of characters of a text, items of a list, or the integer
itself.
"""


def prompt_rows(registry: PromptRegistry, *, only_features: bool) -> list[dict[str, Any]]:
    """Return a row for each version of each prompt and family, newest version first.

    Args:
        registry: Where they are.
        only_features: Leave out the prompts that stand beside those of the features.
    """
    folders: dict[str, Feature | None] = {feature.value: feature for feature in Feature}
    if not only_features:
        folders |= {prompt.prompt: prompt.feature for prompt in WIRE_PROMPTS.values()}
    return [
        {
            "feature": feature,
            "family": family.value,
            "version": version,
            "prompt_id": PROMPT_IDS[folder],
        }
        for folder, feature in folders.items()
        for family in ModelFamily
        for version in registry.versions(folder, family)
    ]


def reference_page(registry: PromptRegistry) -> str:
    """Return the page that documents every prompt, in Markdown."""
    further = [
        (prompt_id, wire_prompt.prompt)
        for prompt_id, wire_prompt in WIRE_PROMPTS.items()
        if wire_prompt.prompt not in tuple(Feature)
    ]
    return "\n".join(
        [
            _INTRODUCTION,
            "## Versions by feature and family",
            "",
            *_matrix(registry),
            "",
            "In brackets: the family is not supported for the feature and cannot be chosen.",
            "",
            "## Prompts of the features",
            "",
            *_table(
                registry,
                [(f"{facts.title} (`{feature}`)", feature) for feature, facts in FEATURES.items()],
            ),
            "",
            "## Further prompts that GitLab asks for by id",
            "",
            *_table(registry, [(f"`{prompt_id}`", prompt) for prompt_id, prompt in further]),
            "",
        ]
    )


def _matrix(registry: PromptRegistry) -> Iterator[str]:
    yield _row("Feature", *(FAMILIES[family].title for family in ModelFamily))
    yield _row(*["---"] * (len(ModelFamily) + 1))
    for feature, facts in FEATURES.items():
        yield _row(facts.title, *(_cell(registry, feature, family) for family in ModelFamily))


def _cell(registry: PromptRegistry, feature: Feature, family: ModelFamily) -> str:
    versions = ", ".join(registry.versions(feature, family)) or "-"
    return versions if support_level(feature, family).is_selectable else f"({versions})"


def _table(registry: PromptRegistry, prompts: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield _row("Prompt", "Id", "Version", "Inputs", "Output")
    yield _row(*["---"] * 5)
    for name, prompt in prompts:
        # What several variants have in common is one row.
        rows: dict[tuple[str, ...], list[str]] = {}
        for variant in registry.variants(prompt):
            definition = registry.find(prompt, [variant], "*")
            rows.setdefault(_facts(definition), []).append(variant)
        for facts, variants in rows.items():
            whom = name if len(rows) == 1 else f"{name}: {', '.join(variants)}"
            yield _row(whom, f"`{PROMPT_IDS[prompt]}`", *facts)


def _facts(definition: PromptDefinition) -> tuple[str, ...]:
    inputs = ", ".join(_input(spec) for spec in definition.inputs.values())
    return definition.version, inputs or "none", definition.output.value


def _input(spec: InputSpec) -> str:
    name = f"**`{spec.name}`**" if spec.is_required else f"`{spec.name}`"
    limit = spec.max_value or spec.max_items or spec.max_chars
    return f"{name} {spec.type}" + (f" ≤ {limit:,}" if limit else "")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
