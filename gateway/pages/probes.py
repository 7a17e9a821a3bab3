"""Asking model servers from the pages of deployments: what is at a URL, and what it can do.

No page waits for a server: it starts a run and shows what was found so far, again and again.
"""

import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import path, reverse
from django.utils.http import urlencode

from gateway.audit import Origin, attribution_of_request
from gateway.pages.frame import SEND, guarded, page
from gateway.probes.endpoint_news import Load, load_of
from gateway.probes.jobs import cancel_probe, start_probe
from gateway.probes.runs import asked_deployment
from gateway.routing.errors import QuotaExceeded
from gateway.standing import health_tone
from selfhosted_models.errors import EndpointRefused, SecretUnavailable
from selfhosted_models.forms import ModelDeploymentForm, PastedUrlForm
from selfhosted_models.models import (
    EndpointHealth,
    EndpointHealthChange,
    Fingerprint,
    ModelDeployment,
)
from selfhosted_models.probe_runs import ProbeKind, ProbeRun
from selfhosted_models.probing.fingerprint import described, differences, told
from selfhosted_models.probing.outcomes import Outcome
from selfhosted_models.probing.results import State, Trait, facts_of
from selfhosted_models.secrets import SecretBox

#: Of the add page's URL: the inspection it is filled in from, and which of its suggestions.
PROBE, SUGGESTION = "probe", "suggestion"
SHOWN_CHANGES = 10
_TONES = {State.YES: "good", State.NO: "bad", State.UNKNOWN: "warn", State.NOT_APPLICABLE: ""}
_WORDS = {State.YES: "yes", State.NO: "no", State.UNKNOWN: "not known", State.NOT_APPLICABLE: "–"}


class ProbingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Deployments, with what their servers say of themselves."""

    change_form_template = "gateway/deployment_change_form.html"

    def get_urls(self) -> list[Any]:
        look, add, change = (
            f"selfhosted_models.{verb}_modeldeployment" for verb in ("view", "add", "change")
        )
        own = [
            path("ask/", guarded(self.ask_view, add, methods=SEND), name="deployment_ask"),
            path("test/", guarded(self.test_view, add, methods=SEND), name="deployment_test_new"),
            path(
                "<uuid:object_id>/test/",
                guarded(self.test_view, change, methods=SEND),
                name="deployment_test",
            ),
            path("probes/<int:run_id>/", guarded(self.run_view, look), name="probe_run"),
            path(
                "probes/<int:run_id>/findings/",
                guarded(self.findings_view, look),
                name="probe_findings",
            ),
            path(
                "probes/<int:run_id>/cancel/",
                guarded(self.cancel_view, change, methods=SEND),
                name="probe_cancel",
            ),
        ]
        return [*own, *super().get_urls()]

    # --- Adding by a URL -------------------------------------------------------------------------

    def ask_view(self, request: HttpRequest) -> HttpResponse:
        """Have the server at a pasted URL asked; the add page shows what it says."""
        form = PastedUrlForm(request.POST)
        add = reverse("admin:selfhosted_models_modeldeployment_add")
        if not form.is_valid():
            context = {"pasted": form}
            return self.add_view(_as_get(request), add, context)
        try:
            run = start_probe(
                ProbeKind.INSPECTION,
                form.deployment,
                attribution_of_request(request, Origin.WEB),
                is_stored=False,
            )
        except QuotaExceeded as error:
            self.message_user(request, error.safe_message, messages.ERROR)
            return HttpResponseRedirect(add)
        return HttpResponseRedirect(f"{add}?{urlencode({PROBE: run.pk})}")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        run = inspection_of(request)
        context = {
            "pasted": PastedUrlForm(initial={"url": _asked_url(run)}),
            **(_shown(run) if run else {}),
        }
        return super().add_view(request, form_url, {**context, **(extra_context or {})})

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        given = super().get_changeform_initial_data(request)
        return {**given, **_suggested(inspection_of(request), request.GET.get(SUGGESTION, ""))}

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if obj is not None or (run := inspection_of(request)) is None:
            return form
        return form_with_key_of(form, asked_deployment(run))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        context = {"server": ServerStanding.read(row)} if row else {}
        return super().change_view(
            request, object_id, form_url, {**context, **(extra_context or {})}
        )

    # --- Testing ---------------------------------------------------------------------------------

    def test_view(self, request: HttpRequest, object_id: Any = None) -> HttpResponse:
        """Measure what the form holds, saved or not."""
        row = get_object_or_404(ModelDeployment, pk=object_id) if object_id else None
        form_class: Any = ModelDeploymentForm
        if row is None and (run := inspection_of(request)) is not None:
            form_class = form_with_key_of(form_class, asked_deployment(run))
        form = form_class(request.POST, instance=row)
        if not form.is_valid():
            return self._test_page(request, {"form_errors": form.errors.items()}, "Not tested")
        try:
            run = start_probe(
                ProbeKind.MEASUREMENT,
                form.instance,
                attribution_of_request(request, Origin.WEB),
                is_stored=False,
            )
        except (QuotaExceeded, EndpointRefused) as error:
            return self._test_page(request, {"refusal": error.safe_message}, "Not tested")
        if _wants_fragment(request):
            return findings(request, run)
        return HttpResponseRedirect(reverse("admin:probe_run", args=[run.pk]))

    def _test_page(self, request: HttpRequest, context: dict[str, Any], title: str) -> HttpResponse:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        if _wants_fragment(request):
            return render(request, "gateway/probe_refusal.html", context, status=status)
        return page(request, "gateway/probe_run.html", title, context, status)

    # --- Runs ------------------------------------------------------------------------------------

    def run_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        run = get_object_or_404(ProbeRun, pk=run_id)
        asked = asked_deployment(run)
        title = asked.name or asked.endpoints[0]
        return page(request, "gateway/probe_run.html", title, _shown(run))

    def findings_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        return findings(request, get_object_or_404(ProbeRun, pk=run_id))

    def cancel_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        run = get_object_or_404(ProbeRun, pk=run_id)
        cancel_probe(run)
        if _wants_fragment(request):
            return findings(request, run)
        return HttpResponseRedirect(reverse("admin:probe_run", args=[run.pk]))


@dataclass(frozen=True, slots=True)
class ServerStanding:
    """What is stored of a deployment's servers.

    Attributes:
        health: Of each endpoint, with its colour.
        load: What all workers have under way and waiting there; None if nothing.
        changes: The last of its health, the newest first.
        fingerprint: What was measured last; None before.
        fits: Whether that is of the deployment as it is now, so that requests are built from it.
        drifts: The last times that the server was found changed.
    """

    health: tuple[tuple[EndpointHealth, str], ...]
    load: Load | None
    changes: tuple[tuple[EndpointHealthChange, str], ...]
    fingerprint: Fingerprint | None
    fits: bool
    drifts: tuple[Fingerprint, ...]

    @classmethod
    def read(cls, row: ModelDeployment) -> "ServerStanding":
        fingerprint = row.fingerprints.first()
        return cls(
            health=tuple((each, health_tone(each.state)) for each in row.endpoint_health.all()),
            load=load_of(row, now=time.time()),
            changes=tuple(
                (each, health_tone(each.state))
                for each in row.endpoint_health_changes.all()[:SHOWN_CHANGES]
            ),
            fingerprint=fingerprint,
            fits=fingerprint is not None and fingerprint.subject == row.measured_subject,
            drifts=tuple(row.fingerprints.drifted()[:SHOWN_CHANGES]),
        )

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What was measured, in words."""
        facts = self.fingerprint.facts if self.fingerprint else {}
        return [(trait.replace("_", " "), told(value)) for trait, value in facts.items()]


def findings(request: HttpRequest, run: ProbeRun) -> HttpResponse:
    """Return what was found so far, for a page to put in its place."""
    return render(request, "gateway/probe_findings.html", _shown(run))


def inspection_of(request: HttpRequest) -> ProbeRun | None:
    """Return the inspection a page is filled in from: one of this user's own."""
    number = request.GET.get(PROBE, "")
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        return None
    own = ProbeRun.objects.filter(kind=ProbeKind.INSPECTION, started_by=request.user.get_username())
    return own.filter(pk=int(number)).first()


def form_with_key_of(form: Any, asked: ModelDeployment) -> Any:
    """Return `form` with the key that the pasted URL was asked with, for the same host alone."""

    class KeyedForm(form):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if asked.has_api_key and "api_key" in self.fields:
                self.fields[
                    "api_key"
                ].help_text = (
                    f"The key you entered for {asked.endpoints[0]} is kept; leave empty to use it."
                )

        def clean(self) -> Any:
            cleaned = super().clean()
            if not asked.has_api_key or self.instance.has_api_key:
                return cleaned
            wanted = ModelDeployment(endpoints=cleaned.get("endpoints", []))
            if wanted.may_use_key_of(asked):
                try:
                    self.instance.take_api_key(asked, SecretBox(settings.ENCRYPTION_KEYS))
                except SecretUnavailable as error:
                    self.add_error("api_key", error.safe_message)
            elif "endpoints" in cleaned:
                self.add_error(
                    "api_key",
                    f"The key you entered was for {asked.endpoints[0]}: enter this host's.",
                )
            return cleaned

    return KeyedForm


def _asked_url(run: ProbeRun | None) -> str:
    return asked_deployment(run).endpoints[0] if run else ""


def _suggested(run: ProbeRun | None, position: str) -> dict[str, Any]:
    """Return the fields of a suggestion of the server."""
    suggestions = run.results[0].get("suggestions", []) if run and run.results else []
    if not (position.isascii() and position.isdecimal() and int(position) < len(suggestions)):
        return {}
    found = suggestions[int(position)]
    return {
        "name": _name_for(found["model_identifier"]),
        "family": found["family"],
        "serving_format": found["serving_format"],
        "endpoints": [found["url"]],
        "model_identifier": found["model_identifier"],
    }


def _name_for(model: str) -> str:
    """Return a name that admins may keep: the last part of the model's own."""
    return re.sub(r"[^A-Za-z0-9._:-]", "-", model.rpartition("/")[2]).strip("._:-")[:100]


def _shown(run: ProbeRun) -> dict[str, Any]:
    """Return what templates show of a run."""
    context: dict[str, Any] = {"run": run, "run_title": _title(run)}
    if run.kind == ProbeKind.INSPECTION:
        found = run.results[0] if run.results else None
        return {**context, "inspection": found, "is_good": found and found["outcome"] == Outcome.OK}
    if run.kind == ProbeKind.CHECK:
        return {**context, "checks": run.results}
    abilities = list(run.abilities)
    return {
        **context,
        "abilities": [
            (each, each.trait.replace("_", " "), _WORDS[each.state], _TONES[each.state])
            for each in abilities
        ],
        "traits": len(Trait),
        "drift": _drift(run) if run.is_over else "",
    }


def _drift(run: ProbeRun) -> str:
    """Return what changed since the same server was measured before; "" if nothing did."""
    if run.fingerprint is not None:
        return run.fingerprint.drift
    before = Fingerprint.objects.filter(deployment=run.deployment_id, subject=run.subject).first()
    return described(differences(before.facts, facts_of(run.abilities))) if before else ""


def _title(run: ProbeRun) -> str:
    return str(ProbeKind(run.kind).label)


def _wants_fragment(request: HttpRequest) -> bool:
    return request.headers.get("X-Requested-With") == "fetch"


def _as_get(request: HttpRequest) -> HttpRequest:
    """Return a request for the page itself, in place of what was sent to another view."""
    request.method = "GET"
    return request
