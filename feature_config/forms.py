from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

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


class AnswererSelect(forms.Select):
    """A drop-down that shows what cannot be chosen too, greyed out.

    Written without templates: Django's own takes one for each option, and the page of all features
    has thousands of them.
    """

    refused: frozenset[str] = frozenset()

    def render(
        self, name: str, value: Any, attrs: Mapping[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        chosen = "" if value is None else str(value)
        parts: list[SafeString] = []
        for key, label in self.choices:
            if isinstance(label, str):
                parts.append(self._option(key, label, chosen))
            else:
                group = _joined(self._option(one, text, chosen) for one, text in label)
                parts.append(format_html('<optgroup label="{}">{}</optgroup>', key, group))
        all_attrs = flatatt({"name": name, **self.build_attrs(self.attrs, dict(attrs or {}))})
        return format_html("<select{}>{}</select>", all_attrs, _joined(parts))

    def _option(self, key: str, label: str, chosen: str) -> SafeString:
        states = {"selected": key == chosen, "disabled": key in self.refused}
        return format_html('<option value="{}"{}>{}</option>', key, flatatt(states), label)


def _joined(parts: Iterable[SafeString]) -> SafeString:
    return format_html_join("", "{}", ((part,) for part in parts))


class FeatureSettingForm(forms.ModelForm):  # type: ignore[type-arg]
    """One drop-down for what answers, one for each fallback after it, and the prompt's version.

    Args:
        deployments: All there are, where the caller has read them already.
    """

    class Meta:
        model = FeatureSetting
        fields: ClassVar[list[str]] = ["prompt_version"]

    def __init__(
        self, *args: Any, deployments: Sequence[ModelDeployment] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.feature = Feature(self.instance.feature)
        known = list(ModelDeployment.objects.all()) if deployments is None else deployments
        chosen = [choice.deployment for choice in self.instance.choices.all()]
        usable = [item for item in known if not _why_not(self.feature, item)]
        # What is chosen stays visible, even if it was deactivated meanwhile.
        offered = {item.pk: item for item in (*usable, *chosen)}
        self._offered = {str(key): item for key, item in offered.items()}
        refused = [item for item in known if item.pk not in offered]
        first = INACTIVE if self.instance.is_inactive else UNASSIGNED
        self._add_place(
            "answered_by",
            [
                (UNASSIGNED, "Unassigned: no choice yet"),
                (INACTIVE, "Inactive: refused to everyone"),
            ],
            refused,
            label="Answered by",
            initial=str(chosen[0].pk) if chosen else first,
        )
        # Three at least, where there are so many; those there are, and one more to choose.
        fallbacks = min(max(len(chosen), 3), len(self._offered) - 1, MAX_CHOICES - 1)
        for number in range(1, fallbacks + 1):
            self._add_place(
                f"fallback_{number}",
                [(UNASSIGNED, "Nothing")],
                [],
                label=f"Then, if that cannot be reached ({number})",
                help_text=_FALLBACK_HELP if number == 1 else "",
                initial=str(chosen[number].pk) if len(chosen) > number else UNASSIGNED,
            )
        self.fields["prompt_version"] = self.fields.pop("prompt_version")  # stands last

    def _add_place(
        self,
        name: str,
        first: list[tuple[str, str]],
        refused: Sequence[ModelDeployment],
        **field: Any,
    ) -> None:
        """Add a drop-down: `first`, then what can be chosen, then what cannot and why."""
        options = [
            (key, f"{item.name} ({_family(item)}: {_level(self.feature, item)})")
            for key, item in self._offered.items()
        ]
        greyed = [
            (str(item.pk), f"{item.name} ({_why_not(self.feature, item)})") for item in refused
        ]
        place = forms.ChoiceField(
            required=False,
            choices=[*first, *options],
            widget=AnswererSelect,
            error_messages={
                "invalid_choice": "That deployment cannot answer this feature: choose one listed."
            },
            **field,
        )
        if greyed:
            place.widget.refused = frozenset(key for key, _ in greyed)
            place.widget.choices = [*first, *options, ("Cannot answer this", greyed)]
        self.fields[name] = place

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
        check_choices(self.feature, self._chosen)
        version = cleaned.get("prompt_version", self.instance.prompt_version)
        try:
            check_prompt_version(self.feature, self._chosen, version)
        except ValidationError as error:
            self.add_error("prompt_version" if "prompt_version" in self.fields else None, error)
        return cleaned

    def apply(self) -> None:
        """Make the choice, by the setting's own verbs."""
        setting: FeatureSetting = self.instance
        if self.cleaned_data["answered_by"] == INACTIVE:
            setting.deactivate()
        else:
            setting.assign(self._chosen)


class FeatureRowForm(FeatureSettingForm):
    """The choice alone, as a row of the page of all features has it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["prompt_version"]

    @property
    def fallbacks(self) -> list[forms.BoundField]:
        return [field for field in self if field.name != "answered_by"]


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
