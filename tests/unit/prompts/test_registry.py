from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from prompts.errors import PromptMissing, VersionConstraintInvalid, VersionUnsatisfied
from prompts.loader import load_definitions
from prompts.registry import PromptRegistry, variants_for
from selfhosted_models.families import ModelFamily

VERSIONS = ("1.0.0", "1.1.0", "1.2.3", "1.3.0-dev", "2.0.0-dev", "2.0.0", "3.0.0-rc.1")


@pytest.fixture
def versioned(write_files: Callable[[Mapping[str, str]], Path], small: str) -> PromptRegistry:
    files = {f"duo_chat/general/{version}.yml": small for version in VERSIONS}
    return load_definitions(write_files(files)).registry


@pytest.mark.parametrize(
    ("constraint", "version"),
    [
        (None, "1.3.0-dev"),
        ("", "1.3.0-dev"),
        ("^1.0.0", "1.3.0-dev"),
        ("1.0.0", "1.0.0"),
        ("~1.2", "1.2.3"),
        ("1.*", "1.3.0-dev"),
        (">=1.0,<1.2", "1.1.0"),
        (">=1.0,<2.0", "1.3.0-dev"),
        ("^2.0.0", "2.0.0"),
        ("*", "3.0.0-rc.1"),
        ("1.0.0 || 2.0.0", "2.0.0"),
    ],
)
def test_newest_allowed_version_is_found(
    versioned: PromptRegistry, constraint: str | None, version: str
) -> None:
    assert versioned.find("duo_chat", ["general"], constraint).version == version


@pytest.mark.parametrize("constraint", ["latest", "^", ">>1", "1.0.0 and more", "{{7*7}}"])
def test_unreadable_constraint_is_refused(versioned: PromptRegistry, constraint: str) -> None:
    with pytest.raises(VersionConstraintInvalid, match="Write 1.0.0"):
        versioned.find("duo_chat", ["general"], constraint)


def test_overlong_constraint_is_refused_and_not_repeated(versioned: PromptRegistry) -> None:
    with pytest.raises(VersionConstraintInvalid) as caught:
        versioned.find("duo_chat", ["general"], "1.0.0 || " * 1000)

    assert len(caught.value.safe_message) < 200


def test_unsatisfied_constraint_names_the_versions(versioned: PromptRegistry) -> None:
    with pytest.raises(VersionUnsatisfied, match=r"There is: 3\.0\.0-rc\.1, 2\.0\.0, "):
        versioned.find("duo_chat", ["general"], "^9.0.0")


@pytest.mark.parametrize(
    ("constraint", "pin", "version"),
    [
        (None, "1.1.0", "1.1.0"),
        ("", "2.0.0", "2.0.0"),
        ("^1.0.0", "1.1.0", "1.1.0"),
        ("^1.0.0", "~1.2 || 2.0.0", "1.2.3"),
        (">=1.1", "<1.3.0-dev", "1.2.3"),
        (None, "", "1.3.0-dev"),
    ],
)
def test_pin_and_constraint_both_hold(
    versioned: PromptRegistry, constraint: str | None, pin: str, version: str
) -> None:
    assert versioned.find("duo_chat", ["general"], constraint, pin).version == version


def test_pin_that_contradicts_the_constraint_is_named(versioned: PromptRegistry) -> None:
    with pytest.raises(VersionUnsatisfied, match=r"'\^1.0.0' and '2.0.0', which an instance admin"):
        versioned.find("duo_chat", ["general"], "^1.0.0", "2.0.0")


def test_missing_prompt_names_the_variants_tried(versioned: PromptRegistry) -> None:
    with pytest.raises(PromptMissing, match="no prompt 'poetry' for gpt or general"):
        versioned.find("poetry", ["gpt", "general"])


def test_first_existing_variant_wins(registry: PromptRegistry) -> None:
    found = registry.find("code_completions", ["llama3", "codestral", "general"])

    assert found.variant == "codestral"


def test_first_existing_variant_wins_even_when_it_lacks_the_version(
    registry: PromptRegistry,
) -> None:
    with pytest.raises(VersionUnsatisfied) as caught:
        registry.find("code_completions", ["codestral", "general"], "^4.0.0")

    assert caught.value.variant == "codestral"


def test_versions_are_listed_newest_first(versioned: PromptRegistry) -> None:
    listed = versioned.versions("duo_chat", "general")

    assert listed == tuple(reversed(VERSIONS))


def test_iteration_is_ordered_by_prompt_and_variant(registry: PromptRegistry) -> None:
    names = [(definition.prompt, definition.variant) for definition in registry]

    assert names == sorted(names)
    assert len(names) == len(registry)


def test_base_is_no_variant(registry: PromptRegistry) -> None:
    assert registry.has("code_completions")
    assert not registry.has("poetry")
    assert "base" not in registry.variants("code_completions")


@pytest.mark.parametrize(
    ("family", "wire_name", "variants"),
    [
        (ModelFamily.MISTRAL_7B, None, ("mistral-7b", "general")),
        (ModelFamily.MISTRAL_7B, "mistral", ("mistral", "mistral-7b", "general")),
        (ModelFamily.GENERAL, "codellama", ("codellama", "general")),
        (ModelFamily.GENERAL, "general", ("general",)),
    ],
)
def test_variants_go_from_the_particular_to_the_general(
    family: ModelFamily, wire_name: str | None, variants: tuple[str, ...]
) -> None:
    assert variants_for(family, wire_name) == variants


@pytest.mark.parametrize(
    ("family", "wire_name", "variant"),
    [
        (ModelFamily.CODEGEMMA_7B_IT, "codegemma", "codegemma-7b-it"),
        (ModelFamily.CODEGEMMA_2B, "codegemma", "codegemma-2b"),
        (ModelFamily.MIXTRAL_8X22B, "mixtral", "mixtral-8x22b"),
        (ModelFamily.GENERAL, "llama3", "general"),
        (ModelFamily.GENERAL, "claude_3", "claude_3"),
    ],
)
def test_wire_name_without_a_variant_of_its_own_has_the_familys(
    registry: PromptRegistry, family: ModelFamily, wire_name: str, variant: str
) -> None:
    found = registry.find("code_generations", variants_for(family, wire_name))

    assert found.variant == variant
