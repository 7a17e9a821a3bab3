"""The playground: a feature's inputs filled in, its prompt shown, a deployment's answer streamed.

The page itself asks no model server. The answer comes from an asynchronous view, in the loop that
serves requests and with the fleet they use, so that no thread waits for a model server.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django import forms
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from docsearch.query import MAX_QUERY_CHARS
from feature_config.catalogue import FEATURES, Feature, support_level
from gateway.documentation.conversation import messages_with
from gateway.errors import KNOWN_ERRORS
from gateway.evaluation.suites import suite_for
from gateway.pages.documentation import search_result
from gateway.pages.explain import feature_choices, gates_asked
from gateway.pages.frame import page
from gateway.playground import Trial, ask
from gateway.rest.authentication import RUNTIME_IN_SCOPE
from gateway.runtime import Runtime
from gateway.snapshot import ServingSnapshot
from gateway.standing import Stored
from prompts.definition import InputSpec, InputType
from prompts.registry import variants_for
from selfhosted_models.families import ModelFamily

_ASSIGNED = ""
_MAX_ROWS = 14


@dataclass(frozen=True, slots=True)
class Setup:
    """What is chosen before anything is filled in; what does not exist is at its default.

    Attributes:
        deployment: Name of the one that is asked; "" asks what the feature is assigned to.
        deployments: Those that may be asked, by name.
        specs: Inputs of the prompt it would get.
    """

    feature: Feature
    deployment: str
    deployments: tuple[str, ...]
    specs: tuple[InputSpec, ...]

    @classmethod
    def of(cls, sent: Mapping[str, Any], snapshot: ServingSnapshot) -> "Setup":
        wanted = sent.get("feature", "")
        feature = Feature(wanted) if wanted in list(Feature) else _first_assigned(snapshot)
        deployments = tuple(
            name
            for name, serving in snapshot.deployments.items()
            if support_level(feature, serving.family).is_selectable
        )
        deployment = sent.get("deployment", "")
        if deployment not in deployments:
            deployment = _ASSIGNED
        route = snapshot.routes[feature]
        asked = [name for name in (deployment, *route.chosen) if name in snapshot.deployments]
        family = snapshot.deployments[asked[0]].family if asked else ModelFamily.GENERAL
        definition = snapshot.prompts.find(feature, variants_for(family, None))
        return cls(feature, deployment, deployments, tuple(definition.inputs.values()))


def _first_assigned(snapshot: ServingSnapshot) -> Feature:
    assigned = (feature for feature in Feature if snapshot.routes[feature].chosen)
    return next(assigned, Feature.CODE_COMPLETIONS)


class SetupForm(forms.Form):
    feature = forms.ChoiceField(choices=feature_choices, label="Feature")
    deployment = forms.ChoiceField(label="Answered by")
    sample = forms.ChoiceField(label="Sample")

    def __init__(self, setup: Setup, samples: Iterable[str], sample: str) -> None:
        super().__init__(
            initial={"feature": setup.feature, "deployment": setup.deployment, "sample": sample}
        )
        names: Any = self.fields
        names["deployment"].choices = [
            (_ASSIGNED, "What the feature is assigned to"),
            *((name, name) for name in setup.deployments),
        ]
        names["sample"].choices = [(name, name.replace("-", " ")) for name in samples]


class InputsForm(forms.Form):
    """One field for each input of a prompt; what is no text is JSON."""

    prefix = "input"

    def __init__(self, specs: Iterable[InputSpec], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._specs = tuple(specs)
        for spec in self._specs:
            self.fields[spec.name] = _field_of(spec, self.initial.get(spec.name))

    def values(self) -> dict[str, Any]:
        """Return what a caller would send; what was left empty is not sent, unless it must be."""
        return {
            spec.name: value
            for spec in self._specs
            if (value := self.cleaned_data[spec.name]) not in (None, "") or _is_text(spec)
        }


def _is_text(spec: InputSpec) -> bool:
    """Tell whether an input must be sent and may be empty."""
    return spec.is_required and spec.type is InputType.STRING


def _field_of(spec: InputSpec, sample: Any) -> forms.Field:
    told = "" if spec.is_required else "May be left out. "
    label = spec.name.replace("_", " ").capitalize()
    if spec.type is InputType.INTEGER:
        return forms.IntegerField(
            label=label, required=False, min_value=1, max_value=spec.max_value, help_text=told
        )
    lines = str(sample or "").count("\n") + 2
    area = forms.Textarea(attrs={"rows": min(lines, _MAX_ROWS), "spellcheck": "false"})
    if spec.type is InputType.STRING:
        return forms.CharField(
            label=label,
            required=False,
            strip=False,
            max_length=spec.max_chars,
            widget=area,
            help_text=told,
        )
    return forms.JSONField(
        label=label,
        required=False,
        widget=area,
        help_text=f"{told}As JSON: {'an object' if spec.type is InputType.OBJECT else 'a list'}.",
        error_messages={"invalid": "This is not JSON: check commas, quotes and brackets."},
    )


def playground_page(request: HttpRequest) -> HttpResponse:
    """Show the form with a sample; sent, also the gates and the prompt it makes."""
    snapshot = Stored.read().snapshot
    sent = request.POST if request.method == "POST" else request.GET
    setup = Setup.of(sent, snapshot)
    samples = {case.id: case for case in suite_for(setup.feature).cases}
    sample = sent.get("sample", "")
    if sample not in samples:
        sample = next(iter(samples))
    status, asked = HTTPStatus.OK, {}
    if request.method == "POST":
        inputs = InputsForm(setup.specs, request.POST)
        if inputs.is_valid():
            trial = Trial(setup.feature, setup.deployment, inputs.values())
            asked = _asked(trial, snapshot, request)
        else:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
    else:
        initial = {**samples[sample].inputs, **_looked_up(request, setup.feature)}
        inputs = InputsForm(setup.specs, initial=initial)
    context = {
        "setup": setup,
        "setup_form": SetupForm(setup, samples, sample),
        "sample": sample,
        "inputs": inputs,
        "feature_title": FEATURES[setup.feature].title,
        **asked,
    }
    return page(request, "gateway/playground.html", "Playground", context, status)


def _looked_up(request: HttpRequest, feature: Feature) -> dict[str, Any]:
    """Return the inputs of a question to Duo Chat with what the documentation says of it."""
    question = request.GET.get("documentation", "")
    if feature is not Feature.DUO_CHAT or not question.strip():
        return {}
    result = search_result(request, question, request.GET.get("version", ""))
    return {"messages": messages_with(question[:MAX_QUERY_CHARS], result)}


def _asked(trial: Trial, snapshot: ServingSnapshot, request: HttpRequest) -> dict[str, Any]:
    """Return what is known before the answer: gates, prompt with its budget, and the command."""
    decision = trial.decide(snapshot, request.user.get_username())
    prompt, problem = None, ""
    if decision.error is None:
        try:
            prompt = trial.prompt_for(snapshot, decision.candidates[0])
        except KNOWN_ERRORS as error:
            problem = error.safe_message
    return {
        "asked": gates_asked(decision.gates)[:-1],  # the servers are asked, not explained
        "prompt": prompt,
        "problem": problem,
        "answered_by": [candidate.serving.deployment for candidate in decision.candidates],
        "curl": trial.curl(request.build_absolute_uri("/").rstrip("/"), prompt),
        "asks_directly": bool(trial.deployment and prompt),
    }


async def ask_view(request: HttpRequest) -> HttpResponseBase:
    """Stream an answer as one JSON event a line: `asked` (HTML), `text`…, `error`, `end`."""
    runtime: Runtime | None = getattr(request, "scope", {}).get(RUNTIME_IN_SCOPE)
    if runtime is None:
        return _refused("This server does not serve the gateway: start it as `make serve` does.")
    setup = Setup.of(request.POST, runtime.snapshot)
    inputs = InputsForm(setup.specs, request.POST)
    if not inputs.is_valid():
        return _refused(
            " ".join(f"{inputs[name].label}: {errors[0]}" for name, errors in inputs.errors.items())
        )
    trial = Trial(setup.feature, setup.deployment, inputs.values())

    def asked_html() -> str:
        context = _asked(trial, runtime.snapshot, request)
        return render_to_string("gateway/playground_asked.html", context)

    html = await sync_to_async(asked_html)()  # it reads a file, and who asks
    return StreamingHttpResponse(
        _lines(runtime, trial, html, (await request.auser()).get_username()),
        content_type="application/x-ndjson",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _refused(message: str) -> JsonResponse:
    return JsonResponse({"message": message}, status=HTTPStatus.UNPROCESSABLE_ENTITY)


async def _lines(runtime: Runtime, trial: Trial, html: str, user: str) -> AsyncIterator[bytes]:
    yield _line({"asked": html})
    async with aclosing(ask(runtime, trial, user)) as events:
        async for event in events:
            yield _line(event)


def _line(event: Mapping[str, Any]) -> bytes:
    return orjson.dumps(event) + b"\n"
