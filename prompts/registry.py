"""Choosing a prompt: which variant, which version. No file is touched here."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from poetry.core.constraints.version import Version, VersionConstraint, parse_constraint
from poetry.core.constraints.version.exceptions import ParseConstraintError
from poetry.core.version.pep440.parser import PEP440Parser

from prompts.definition import PromptDefinition
from prompts.errors import PromptMissing, VersionConstraintInvalid, VersionUnsatisfied
from selfhosted_models.families import ModelFamily

#: What is asked for when a caller names no version.
DEFAULT_CONSTRAINT = "^1.0.0"

_MAX_CONSTRAINT_CHARS = 64


def variants_for(family: ModelFamily, wire_name: str | None) -> tuple[str, ...]:
    """Return the variants that suit a model, best first.

    A wire name with a behaviour of its own has a variant; for another there is none by that name,
    and the family's is found.
    """
    names = (wire_name, family.value, ModelFamily.GENERAL.value)
    return tuple(dict.fromkeys(name for name in names if name))


class PromptRegistry:
    """Every prompt definition, immutable."""

    def __init__(self, definitions: Iterable[PromptDefinition]) -> None:
        #: By prompt and variant; each list newest version first.
        self._prompts: dict[str, dict[str, list[tuple[Version, PromptDefinition]]]] = {}
        ordered = sorted(definitions, key=lambda each: (each.prompt, each.variant))
        for each in ordered:
            versions = self._prompts.setdefault(each.prompt, {}).setdefault(each.variant, [])
            versions.append((Version.parse(each.version), each))
            versions.sort(key=lambda pair: pair[0], reverse=True)

    def __iter__(self) -> Iterator[PromptDefinition]:
        """Yield all definitions by prompt and variant, newest version first."""
        for variants in self._prompts.values():
            for versions in variants.values():
                for _, definition in versions:
                    yield definition

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def has(self, prompt: str) -> bool:
        """Tell whether the prompt exists in any variant."""
        return prompt in self._prompts

    def variants(self, prompt: str) -> tuple[str, ...]:
        """Return the variants of a prompt, by name."""
        return tuple(self._prompts.get(prompt, ()))

    def versions(self, prompt: str, variant: str) -> tuple[str, ...]:
        """Return the versions of one variant, newest first."""
        pairs = self._prompts.get(prompt, {}).get(variant, [])
        return tuple(definition.version for _, definition in pairs)

    def find(
        self,
        prompt: str,
        variants: Sequence[str],
        constraint: str | None = None,
        pin: str | None = None,
    ) -> PromptDefinition:
        """Return the newest allowed version of the first variant that exists.

        Args:
            prompt: The feature id, or the folder of a wire prompt.
            variants: Best first, as `variants_for` returns them.
            constraint: In Poetry's language: `1.0.0`, `^1.0.0`, `~1.2`, `1.*`, `>=1.0,<2.0`.
                None or empty means that of `pin`, else `^1.0.0`.
            pin: A second constraint, an admin's; a version must satisfy both.

        Raises:
            PromptMissing: None of the variants exists.
            VersionConstraintInvalid: A constraint cannot be read.
            VersionUnsatisfied: The variant has no version that both allow.
        """
        constraint = constraint or pin or DEFAULT_CONSTRAINT
        pin = pin or constraint
        existing = self._prompts.get(prompt, {})
        variant = next((variant for variant in variants if variant in existing), None)
        if variant is None:
            raise PromptMissing(prompt, variants)
        asked, pinned = _read_constraint(constraint), _read_constraint(pin)
        for version, definition in existing[variant]:
            if asked.allows(version) and pinned.allows(version):
                return definition
        raise VersionUnsatisfied(prompt, variant, (constraint, pin), self.versions(prompt, variant))


@lru_cache(maxsize=256)
def _read_constraint(constraint: str) -> VersionConstraint:
    if len(constraint) > _MAX_CONSTRAINT_CHARS:
        raise VersionConstraintInvalid(constraint)
    # The parser remembers all it ever read, and callers choose what it reads.
    parse_constraint.cache_clear()
    PEP440Parser.parse.cache_clear()
    try:
        return parse_constraint(constraint)
    except ParseConstraintError as error:
        raise VersionConstraintInvalid(constraint) from error
