"""The form that starts evaluations."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from django import forms

from feature_config.catalogue import FEATURES, Feature
from gateway.audit import Attribution
from gateway.evaluation.errors import EvaluationRefused
from gateway.evaluation.jobs import start_evaluation
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
    beside = forms.ChoiceField(
        required=False,
        label="Compare with",
        help_text="Asked the same cases; the difference is told with its range.",
    )
    suite = forms.ChoiceField(required=False)
    prompt_version = forms.CharField(
        required=False,
        max_length=64,
        help_text="A constraint such as 1.0.0 or ^1.0; empty: what a request would get.",
    )
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
        self._choose("beside", [("", "Nothing"), *names])
        self._choose("suite", [("", "The one that ships"), *own])
        self._choose("judge", [("", "Rules only"), *names])

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        field: Any = self.fields[name]
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("suite") and not values.get("feature"):
            self.add_error("feature", "Choose the feature that the suite is for.")
        if values.get("beside") and values["beside"] == values.get("deployment"):
            self.add_error("beside", "Choose another one: it would be compared with itself.")
        return values

    def start(self, by: Attribution) -> tuple[list[EvaluationRun], list[str]]:
        """Start what is wanted.

        Returns:
            The runs, in one batch, and why others could not be started.
        """
        values, batch = self.cleaned_data, uuid4()
        features = [Feature(values["feature"])] if values["feature"] else list(Feature)
        asked = [values["deployment"], *filter(None, [values["beside"]])]
        runs, refusals = [], []
        for feature in features:
            for deployment in asked:
                try:
                    request = EvaluationRequest(
                        feature,
                        deployment=deployment,
                        prompt_version=values["prompt_version"],
                        suite_path=path_of_suite(feature, values["suite"]),
                        judge=values["judge"],
                    )
                    runs.append(start_evaluation(request, by, batch=batch))
                except (EvaluationRefused, PromptError) as error:
                    refusals.append(f"{FEATURES[feature].title}: {error.safe_message}")
        return runs, refusals
