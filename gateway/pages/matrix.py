"""The support matrix: each feature with each model family, and with which prompt."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from feature_config.catalogue import FEATURES, Feature, describe_level, own_prompts, support_level
from feature_config.support import SupportLevel
from gateway.evaluation.verdicts import CellVerdict
from prompts.definition import PromptDefinition
from prompts.errors import PromptError
from prompts.registry import PromptRegistry, variants_for
from selfhosted_models.families import FAMILIES, ModelFamily
from selfhosted_models.models import ModelDeployment

_TONES = {
    SupportLevel.SUPPORTED: "good",
    SupportLevel.TO_BE_EVALUATED: "warn",
    SupportLevel.NOT_SUPPORTED: "bad",
}
_MEANINGS = {
    SupportLevel.SUPPORTED: "Known to work: this prompt was made for this family.",
    SupportLevel.NOT_SUPPORTED: "Known not to work: it cannot be chosen.",
    SupportLevel.TO_BE_EVALUATED: (
        "It may be chosen, and nobody vouches for it: judge it with the acceptance suite."
    ),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One feature with one family.

    Attributes:
        level: In words, as in `to be evaluated`.
        prompts: What the feature itself would ask; fewer where a version pin has none.
        verdicts: The site's own on its deployments of the family, by its acceptance suites.
        deployments: How many of the family there are.
    """

    feature: Feature
    family: ModelFamily
    level: str
    tone: str
    prompts: tuple[PromptDefinition, ...]
    verdicts: tuple[CellVerdict, ...]
    deployments: int

    @property
    def feature_title(self) -> str:
        return FEATURES[self.feature].title

    @property
    def family_title(self) -> str:
        return FAMILIES[self.family].title

    @property
    def prompt_version(self) -> str:
        return self.prompts[0].version if self.prompts else "none"

    @property
    def is_selectable(self) -> bool:
        return support_level(self.feature, self.family).is_selectable

    @property
    def meaning(self) -> str:
        if not FAMILIES[self.family].is_on_supported_list:
            return "A model of your own choice: nobody but you can say how well it does."
        return _MEANINGS[support_level(self.feature, self.family)]


def level_tone(feature: Feature, family: ModelFamily) -> str:
    """Return the colour of a level: good, warn or bad."""
    if not FAMILIES[family].is_on_supported_list:
        return "warn"
    return _TONES[support_level(feature, family)]


def cell_of(
    feature: Feature,
    family: ModelFamily,
    registry: PromptRegistry,
    deployments: Collection[ModelDeployment],
    pin: str,
    verdicts: Mapping[tuple[Feature, UUID], CellVerdict],
) -> Cell:
    """Return one cell.

    Args:
        feature: Row of the matrix.
        family: Column of the matrix.
        registry: Where its prompts are looked up.
        deployments: All there are.
        pin: Constraint on the prompt's version; "" is none.
        verdicts: All there are, as `current_verdicts` returns them.
    """
    found = []
    for prompt in own_prompts(feature):
        try:
            found.append(registry.find(prompt, variants_for(family, None), pin=pin))
        except PromptError:
            continue
    of_family = [row.pk for row in deployments if row.family == family]
    return Cell(
        feature=feature,
        family=family,
        level=describe_level(feature, family),
        tone=level_tone(feature, family),
        prompts=tuple(found),
        verdicts=tuple(verdicts[feature, key] for key in of_family if (feature, key) in verdicts),
        deployments=len(of_family),
    )
