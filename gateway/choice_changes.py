"""Changing what answers several features at once, and taking such a change back.

Everything here writes within the caller's `changing_configuration`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.core.exceptions import ValidationError

from feature_config.catalogue import FEATURES, Feature, describe_level
from feature_config.models import FeatureSetting, check_choices, check_prompt_version
from gateway.configuration.document import INACTIVE, UNASSIGNED
from gateway.configuration.errors import ChangeConflict, ManagedByFile
from gateway.configuration.guards import check_not_managed_by_file, version_of
from gateway.configuration.history import revision_of
from gateway.configuration.planning import Kind, choice_fields, difference
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
            check_choices(feature, chosen)
            check_prompt_version(feature, chosen, setting.prompt_version)
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


def take_back(number: int) -> list[str]:
    """Give the features that a revision changed what they had before it; return which.

    Raises:
        RevisionUnknown: There is no such revision, or none before it.
        ChangeConflict: One of them was changed again since, or what it had is gone; the message
            says which.
        ValidationError: A rule of today forbids what it had.
    """
    before, after = revision_of(number - 1).document, revision_of(number).document
    changes = difference(before, after)
    changed = [change.name for change in changes if change.kind is Kind.FEATURE]
    settings = settings_of(changed)
    for setting in settings:
        there_was = choice_fields(before["features"].get(setting.feature))
        there_is = choice_fields(choice_of(setting).to_data())
        if there_is != choice_fields(after["features"].get(setting.feature)):
            raise ChangeConflict(f"{setting} was changed again since: nothing was taken back.")
        setting.prompt_version = there_was["prompt_version"] or ""
        if there_was["answered_by"] == INACTIVE:
            setting.deactivate()
        else:
            setting.assign([*_deployments(setting, there_was["answered_by"])])
    return changed


def _deployments(
    setting: FeatureSetting, answered_by: str | list[str]
) -> Iterator[ModelDeployment]:
    if answered_by == UNASSIGNED:
        return
    for name in [answered_by] if isinstance(answered_by, str) else answered_by:
        found = ModelDeployment.objects.filter(name=name).first()
        if found is None:
            title = FEATURES[Feature(setting.feature)].title
            raise ChangeConflict(f"{name}, which answered {title} before, is gone: choose anew.")
        yield found
