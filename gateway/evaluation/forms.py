"""The form that starts evaluations."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from django import forms

from feature_config.catalogue import FEATURES, Feature
from gateway.audit import Attribution
from gateway.evaluation.errors import EvaluationRefused
from gateway.evaluation.jobs import start_comparison, start_evaluation
from gateway.evaluation.runs import EvaluationRequest
from gateway.evaluation.suites import path_of_suite
from prompts.errors import PromptError
from prompts.evaluation.suite import Suite
from prompts.models import EvaluationRun
from selfhosted_models.models import ModelDeployment

_ASSIGNED = ("", "The one assigned first")


class StartForm(forms.Form):
    """What is to be evaluated.

    Args:
        deployments: Those that can be asked.
        suites: The site's own.
    """

    feature = forms.ChoiceField(
        required=False,
        choices=[
            ("", "Every feature that can be asked"),
            *((feature.value, facts.title) for feature, facts in FEATURES.items()),
        ],
    )
    deployment = forms.ChoiceField(required=False)
    prompt_version = forms.CharField(
        required=False,
        max_length=64,
        help_text="A constraint such as 1.0.0 or ^1.0; empty: what a request would get.",
    )
    beside = forms.ChoiceField(
        required=False,
        label="Compare with deployment",
        help_text="Choose one, or a version beside it, to have the same cases asked twice.",
    )
    beside_version = forms.CharField(
        required=False,
        max_length=64,
        label="Compare with prompt version",
        help_text="Empty: the same. The difference is told with its range.",
    )
    suite = forms.ChoiceField(required=False)
    judge = forms.ChoiceField(
        required=False, help_text="Judges by a model what rules cannot; it must be able to chat."
    )

    def __init__(
        self,
        *args: Any,
        deployments: Sequence[ModelDeployment],
        suites: Sequence[Suite],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        names = [(row.name, row.name) for row in deployments]
        own = [(suite.name, f"{suite.name} ({FEATURES[suite.feature].title})") for suite in suites]
        self._choose("deployment", [_ASSIGNED, *names])
        self._choose("beside", [("", "The same deployment"), *names])
        self._choose("suite", [("", "The one that ships"), *own])
        self._choose("judge", [("", "Rules only"), *names])

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        field: Any = self.fields[name]
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("suite") and not values.get("feature"):
            self.add_error("feature", "Choose the feature that the suite is for.")
        return values

    def start(self, by: Attribution) -> tuple[list[EvaluationRun], list[str]]:
        """Start what is wanted.

        Returns:
            The runs, in one batch, and why others could not be started.
        """
        values, batch = self.cleaned_data, uuid4()
        features = [Feature(values["feature"])] if values["feature"] else list(Feature)
        runs, refusals = [], []
        for feature in features:
            try:
                first, second = self._sides(feature)
                if second is None:
                    runs.append(start_evaluation(first, by, batch=batch))
                else:
                    runs += start_comparison(first, second, by, batch=batch)
            except (EvaluationRefused, PromptError) as error:
                refusals.append(f"{FEATURES[feature].title}: {error.safe_message}")
        return runs, refusals

    def _sides(self, feature: Feature) -> tuple[EvaluationRequest, EvaluationRequest | None]:
        """Return what is asked, and what is asked beside it."""
        values = self.cleaned_data
        first = EvaluationRequest(
            feature,
            deployment=values["deployment"],
            prompt_version=values["prompt_version"],
            suite_path=path_of_suite(feature, values["suite"]),
            judge=values["judge"],
        )
        if not (values["beside"] or values["beside_version"]):
            return first, None
        return first, first.beside(values["beside"], values["beside_version"])
