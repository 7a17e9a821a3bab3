from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from feature_config.catalogue import Feature, describe_level, support_level
from feature_config.models import (
    MAX_CHOICES,
    FeatureSetting,
    check_choices,
    check_prompt_version,
)
from selfhosted_models.families import FAMILIES, ModelFamily
from selfhosted_models.models import ModelDeployment

UNASSIGNED = ""
INACTIVE = "inactive"
_FALLBACK_HELP = "One request tries two endpoints at most: those of the first choice come first."


def usable_deployments(feature: Feature) -> list[ModelDeployment]:
    """Return the active deployments whose family the feature takes."""
    return [
        deployment
        for deployment in ModelDeployment.objects.active()
        if support_level(feature, ModelFamily(deployment.family)).is_selectable
    ]


class FeatureSettingForm(forms.ModelForm):  # type: ignore[type-arg]
    """One drop-down for what answers, one for each fallback after it, and the prompt's version."""

    class Meta:
        model = FeatureSetting
        fields: ClassVar[list[str]] = ["prompt_version"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        feature = Feature(self.instance.feature)
        chosen = [choice.deployment for choice in self.instance.choices.all()]
        # What is chosen stays visible, even if it was deactivated meanwhile.
        offered = {item.pk: item for item in (*usable_deployments(feature), *chosen)}
        self._offered = {str(key): item for key, item in offered.items()}
        options = [
            (key, f"{item.name} ({_family(item)}: {_level(feature, item)})")
            for key, item in self._offered.items()
        ]
        first = "inactive" if self.instance.is_inactive else UNASSIGNED
        self.fields["answered_by"] = forms.ChoiceField(
            label="Answered by",
            required=False,
            help_text=_not_offered(feature),
            error_messages={
                "invalid_choice": "That deployment cannot answer this feature: choose one listed."
            },
            initial=str(chosen[0].pk) if chosen else first,
            choices=[
                (UNASSIGNED, "Unassigned: no choice yet"),
                (INACTIVE, "Inactive: refused to everyone"),
                *options,
            ],
        )
        # Three at least, where there are so many; those there are, and one more to choose.
        fallbacks = min(max(len(chosen), 3), len(self._offered) - 1, MAX_CHOICES - 1)
        for number in range(1, fallbacks + 1):
            self.fields[f"fallback_{number}"] = forms.ChoiceField(
                label=f"Then, if that cannot be reached ({number})",
                required=False,
                help_text=_FALLBACK_HELP if number == 1 else "",
                initial=str(chosen[number].pk) if len(chosen) > number else UNASSIGNED,
                choices=[(UNASSIGNED, "Nothing"), *options],
            )
        self.fields["prompt_version"] = self.fields.pop("prompt_version")  # stands last

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        places = [name for name in self.fields if name != "prompt_version"]
        first, *rest = [cleaned.get(name, UNASSIGNED) for name in places]
        if first == INACTIVE:  # whatever stands below: nothing answers
            rest = []
        self._chosen = [self._offered[key] for key in (first, *rest) if key in self._offered]
        if first not in self._offered and self._chosen:
            raise ValidationError(
                "A fallback needs a first choice: choose it under Answered by, or set each "
                "fallback to Nothing."
            )
        feature = Feature(self.instance.feature)
        check_choices(feature, self._chosen)
        try:
            check_prompt_version(feature, self._chosen, cleaned.get("prompt_version", ""))
        except ValidationError as error:
            self.add_error("prompt_version", error)
        return cleaned

    def apply(self) -> None:
        """Make the choice, by the setting's own verbs."""
        setting: FeatureSetting = self.instance
        if self.cleaned_data["answered_by"] == INACTIVE:
            setting.deactivate()
        else:
            setting.assign(self._chosen)


def _not_offered(feature: Feature) -> str:
    """Name the deployments that are missing from the list, and why."""
    missing = [
        f"{deployment.name} ({_why_not(feature, deployment)})"
        for deployment in ModelDeployment.objects.all()
        if _why_not(feature, deployment)
    ]
    return f"Not offered: {', '.join(missing)}." if missing else ""


def _why_not(feature: Feature, deployment: ModelDeployment) -> str:
    if not support_level(feature, ModelFamily(deployment.family)).is_selectable:
        return f"{_family(deployment)} is not supported here"
    return "" if deployment.is_active else "inactive"


def _family(deployment: ModelDeployment) -> str:
    return FAMILIES[ModelFamily(deployment.family)].title


def _level(feature: Feature, deployment: ModelDeployment) -> str:
    if not deployment.is_active:
        return "inactive, does not answer"
    return describe_level(feature, ModelFamily(deployment.family))
