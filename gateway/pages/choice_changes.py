"""Changing what answers several features at once, and taking such a change back.

Everything here writes within the caller's `changing_configuration`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.core.exceptions import ValidationError

from feature_config.catalogue import Feature, describe_level
from feature_config.models import FeatureSetting, check_choice
from gateway.configuration.document import INACTIVE, Choice
from gateway.configuration.errors import ChangeConflict, ManagedByFile
from gateway.configuration.guards import check_not_managed_by_file, version_of
from gateway.configuration.history import revision_of
from gateway.configuration.parsing import document_of
from gateway.configuration.stored import choice_of
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import ModelDeployment

#: What a feature is set to: a deployment that answers alone, or one of the two words.
Target = ModelDeployment | str


def settings_of(features: Iterable[str]) -> list[FeatureSetting]:
    """Return the rows of features, with what was chosen, in the catalogue's order."""
    rows = FeatureSetting.objects.prefetch_related("choices__deployment")
    found = {row.feature: row for row in rows.filter(feature__in=list(features))}
    return [found[feature] for feature in Feature if feature in found]


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one feature.

    Attributes:
        before: What answers now, in words.
        after: What would answer.
        level: How far the new choice is known to work, in words; "" where nothing is chosen.
        skipped: Why it stays as it is; "" if it changes.
        seen_version: Of the row, as it was looked at.
    """

    setting: FeatureSetting
    before: str
    after: str
    level: str
    skipped: str
    seen_version: str


def plan(settings: Iterable[FeatureSetting], target: Target) -> list[Step]:
    """Return what setting each feature to `target` would do."""
    return [_step(setting, target) for setting in settings]


def _step(setting: FeatureSetting, target: Target) -> Step:
    feature = Feature(setting.feature)
    before = choice_words(setting)
    after = target.name if isinstance(target, ModelDeployment) else target.capitalize()
    skipped = ""
    if before == after:
        skipped = "It is so already."
    else:
        try:
            check_not_managed_by_file(setting)
            chosen = [target] if isinstance(target, ModelDeployment) else []
            check_choice(feature, chosen, setting.prompt_version)
        except ManagedByFile:
            skipped = "The configuration file manages it: change it there."
        except ValidationError as error:
            skipped = " ".join(error.messages)
    level = ""
    if isinstance(target, ModelDeployment):
        level = describe_level(feature, ModelFamily(target.family))
    return Step(setting, before, after, level, skipped, version_of(setting))


def choice_words(setting: FeatureSetting) -> str:
    """Return what was chosen for people, as in `gpu1, then gpu2`."""
    names = [choice.deployment.name for choice in setting.choices.all()]
    return "Inactive" if setting.is_inactive else ", then ".join(names) or "Unassigned"


def set_to(setting: FeatureSetting, target: Target) -> None:
    """Let `target` answer alone, or nothing."""
    if target == INACTIVE:
        setting.deactivate()
    else:
        setting.assign([target] if isinstance(target, ModelDeployment) else [])


def take_back(number: int) -> list[Feature]:
    """Give the features that a revision changed what they had before it; return which.

    Raises:
        RevisionUnknown: There is no such revision, or none before it.
        ChangeConflict: One of them was changed again since, or what it had is gone; the message
            says which.
        ValidationError: A rule of today forbids what it had.
    """
    before, after = (
        document_of(revision_of(each).document).features for each in (number - 1, number)
    )
    changed = [
        feature
        for feature in Feature
        if before.get(feature, Choice()) != after.get(feature, Choice())
    ]
    for setting in settings_of(changed):
        feature = Feature(setting.feature)
        if choice_of(setting) != after.get(feature, Choice()):
            raise ChangeConflict(f"{setting} was changed again since: nothing was taken back.")
        there_was = before.get(feature, Choice())
        setting.choose(
            [*_deployments(setting, there_was)],
            is_inactive=there_was.is_inactive,
            prompt_version=there_was.prompt_version,
        )
    return changed


def _deployments(setting: FeatureSetting, choice: Choice) -> Iterator[ModelDeployment]:
    for name in choice.deployments:
        found = ModelDeployment.objects.filter(name=name).first()
        if found is None:
            raise ChangeConflict(f"{name}, which answered {setting} before, is gone: choose anew.")
        yield found
