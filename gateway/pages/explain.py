"""Why somebody can or cannot use a feature: every gate of a request, in its order."""

from collections.abc import Sequence
from dataclasses import dataclass

from django import forms
from django.http import HttpRequest, HttpResponse

from feature_config.catalogue import FEATURE_GROUPS, FEATURES, Feature
from gateway.authentication.verifier import Caller
from gateway.explain import explain
from gateway.gates import Gate
from gateway.pages.frame import page
from gateway.standing import Stored, health_tone

_NEEDED, _GIVEN, _NO_TOKEN = "needed", "given", "none"
#: The gates in the order they are asked, as questions.
_QUESTIONS = {
    "token": "Is there a valid token?",
    "scope": "Does the token permit this feature?",
    "feature": "Is the feature switched on?",
    "deployment": "Is there a deployment to answer?",
    "prompt": "Is there a prompt for its model family?",
    "servers": "Can its servers be asked?",
}


def feature_choices() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the features for a drop-down, grouped as people look for them."""
    return [
        (group, [(feature.value, FEATURES[feature].title) for feature in features])
        for group, features in FEATURE_GROUPS.items()
    ]


class ExplainForm(forms.Form):
    feature = forms.ChoiceField(choices=feature_choices, label="Feature")
    user = forms.CharField(
        required=False, max_length=128, label="User", help_text="Only to name them in the answer."
    )
    token = forms.ChoiceField(
        label="Their token",
        required=False,
        choices=[
            (_NEEDED, "has the scope it needs"),
            (_GIVEN, "has the scopes below"),
            (_NO_TOKEN, "is missing or not valid"),
        ],
    )
    scopes = forms.CharField(
        required=False,
        max_length=2000,
        label="Scopes",
        help_text="With commas or spaces between, as in duo_chat, complete_code.",
    )

    def caller(self) -> Caller | None:
        """Return whose request it would be; None for somebody without a token."""
        asked = self.cleaned_data
        if asked["token"] == _NO_TOKEN:
            return None
        scopes = {FEATURES[Feature(asked["feature"])].unit_primitive}
        if asked["token"] == _GIVEN:
            scopes = set(asked["scopes"].replace(",", " ").split())
        return Caller(asked["user"] or "somebody", frozenset(scopes), is_own_issued=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """One gate as the page shows it; `gate` is None if a gate before it is shut."""

    question: str
    gate: Gate | None

    @property
    def tone(self) -> str:
        if self.gate is None:
            return ""
        return "bad" if self.gate.error else "good"

    @property
    def word(self) -> str:
        if self.gate is None:
            return "not asked"
        return "no" if self.gate.error else "yes"


def explain_page(request: HttpRequest) -> HttpResponse:
    """Explain what the query asks for; nothing yet without one."""
    form = ExplainForm(request.GET if "feature" in request.GET else None)
    context: dict[str, object] = {"form": form}
    if form.is_valid():
        stored, feature = Stored.read(), Feature(form.cleaned_data["feature"])
        found = explain(feature, form.caller(), stored.snapshot, stored.news)
        context |= {
            "found": found,
            "feature_title": FEATURES[feature].title,
            "scope": FEATURES[feature].unit_primitive,
            "asked": gates_asked(found.gates),
            "way": [(stop, health_tone(stop.state)) for stop in found.way],
        }
    return page(request, "gateway/explain.html", "Explain", context)


def gates_asked(gates: Sequence[Gate]) -> list[Asked]:
    """Return every gate there is, with the answer of those that were asked."""
    answers = {gate.name: gate for gate in gates}
    return [Asked(question, answers.get(name)) for name, question in _QUESTIONS.items()]
