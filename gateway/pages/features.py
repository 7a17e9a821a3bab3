"""The page of all features: one row each, saved by itself, several at once, and taken back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse

from feature_config.admin import FeatureSettingAdmin
from feature_config.catalogue import FEATURE_GROUPS, FEATURES, PROMPT_IDS, Feature, describe_level
from feature_config.forms import FeatureRowForm
from feature_config.models import FeatureSetting
from gateway.audit import Origin, attribution_of_request
from gateway.configuration.document import INACTIVE, UNASSIGNED
from gateway.configuration.errors import ConfigurationError
from gateway.configuration.guards import differs_from_file, version_of
from gateway.configuration.history import changing_configuration, newest_revision
from gateway.evaluation.verdicts import CellVerdict, current_verdicts
from gateway.models import Revision
from gateway.pages.choice_changes import (
    Step,
    Target,
    choice_words,
    plan,
    set_to,
    settings_of,
    take_back,
)
from gateway.pages.configuration import ConfigurationAdmin
from gateway.pages.frame import SEND, guarded, is_number, page
from gateway.pages.matrix import cell_of, level_tone
from gateway.standing import FeatureState, Standing, Stored, health_tone, state_tone
from prompts.loader import shipped_prompts
from selfhosted_models.families import FAMILIES, ModelFamily
from selfhosted_models.models import ModelDeployment


@dataclass(frozen=True, slots=True)
class Row:
    """One feature, as the page shows it.

    Attributes:
        level: Support level of the first choice, in words; "" without one.
        verdict: The site's own on the first choice, by its acceptance suite.
        health: Of the first choice; "" without one.
    """

    setting: FeatureSetting
    form: FeatureRowForm
    standing: Standing
    level: str
    level_tone: str
    verdict: CellVerdict | None
    health: str
    seen_version: str
    is_changed_here: bool

    @property
    def fallbacks(self) -> list[str]:
        return [choice.deployment.name for choice in self.setting.choices.all()][1:]

    @property
    def state_tone(self) -> str:
        return state_tone(self.standing.state)

    @property
    def health_tone(self) -> str:
        return health_tone(self.health)


class FeaturesAdmin(ConfigurationAdmin, FeatureSettingAdmin):
    def get_urls(self) -> list[Any]:
        look, change = (f"feature_config.{verb}_featuresetting" for verb in ("view", "change"))
        own = [
            path("matrix/", guarded(self.matrix_view, look), name="feature_matrix"),
            path(
                "matrix/<slug:feature>/<slug:family>/",
                guarded(self.cell_view, look),
                name="feature_matrix_cell",
            ),
            path("bulk/", guarded(self.bulk_view, change, methods=SEND), name="features_bulk"),
            path(
                "take-back/",
                guarded(self.take_back_view, change, methods=SEND),
                name="features_take_back",
            ),
            path(
                "<slug:feature>/choose/",
                guarded(self.choose_view, change, methods=SEND),
                name="feature_choose",
            ),
        ]
        return [*own, *super().get_urls()]

    # --- The page --------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return self._page(request)

    def _page(
        self,
        request: HttpRequest,
        sent: Mapping[str, FeatureRowForm] | None = None,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> HttpResponse:
        """Show all rows; those that were sent and refused as they were sent."""
        stored, deployments = Stored.read(), list(ModelDeployment.objects.all())
        settings = {row.feature: row for row in settings_of(Feature)}
        verdicts = current_verdicts()
        rows = {
            feature: _row(
                settings[feature], stored, deployments, verdicts, (sent or {}).get(feature)
            )
            for feature in Feature
            if feature in settings
        }
        states = [row.standing.state for row in rows.values()]
        counts = [(state, states.count(state), state_tone(state)) for state in FeatureState]
        context = {
            "counts": counts,
            "groups": [
                (group, [rows[feature] for feature in features if feature in rows])
                for group, features in FEATURE_GROUPS.items()
            ],
            "deployments": deployments,
            "can_change": self.has_change_permission(request),
            "change_to_take_back": self._change_to_take_back(request),
        }
        return page(request, "gateway/features.html", "Features", context, status)

    def _change_to_take_back(self, request: HttpRequest) -> int | None:
        """Return the revision that was just made, while it is the newest and this user's."""
        newest = newest_revision()
        if newest is None or request.GET.get("changed") != str(newest.number):
            return None
        return newest.number if newest.author == request.user.get_username() else None

    # --- One row ---------------------------------------------------------------------------------

    def choose_view(self, request: HttpRequest, feature: str) -> HttpResponse:
        """Save one row; what is refused is shown again as it was sent, with the reason."""
        return self._save(request, partial(self._choose, request, feature), feature)

    def _choose(self, request: HttpRequest, feature: str) -> HttpResponse | None:
        setting = next(iter(settings_of([feature])), None)
        if setting is None:
            raise Http404
        before = choice_words(setting)
        objections = list(self.objections_to(request, setting))
        form = FeatureRowForm(request.POST, instance=setting, auto_id=f"{feature}-%s")
        is_valid = form.is_valid()
        for objection in objections:
            form.add_error(None, objection)
        if objections or not is_valid:
            status = HTTPStatus.CONFLICT if objections else HTTPStatus.UNPROCESSABLE_ENTITY
            return self._page(request, {feature: form}, status)
        form.apply()
        (saved,) = settings_of([feature])
        after = choice_words(saved)
        if before == after:
            text = f"{saved} stays as it is: {after}."
            self.message_user(request, text, messages.INFO)
        else:
            text = f"{saved}: {after} (before: {before})."
            self.message_user(request, f"Saved. {text}", messages.SUCCESS)
        return None

    # --- Several at once -------------------------------------------------------------------------

    def bulk_view(self, request: HttpRequest) -> HttpResponse:
        """Show what would change; with `confirmed`, change it."""
        target = _target(request.POST.get("target", ""))
        features = request.POST.getlist("features")
        if target is None or not features:
            self.message_user(
                request, "Tick the features and choose what answers them.", messages.WARNING
            )
            return self._to_page()
        if "confirmed" in request.POST:
            return self._save(request, partial(self._apply, request, features, target))
        steps = plan(settings_of(features), target)
        context = {
            "changing": [step for step in steps if not step.skipped],
            "skipped": [step for step in steps if step.skipped],
            "target": request.POST["target"],
        }
        return page(request, "gateway/features_bulk.html", "What would change", context)

    def _apply(self, request: HttpRequest, features: list[str], target: Target) -> None:
        steps = plan(settings_of(features), target)
        changed, skipped = [], []
        for step in steps:
            reason = step.skipped or _changed_since(request, step)
            if reason:
                skipped.append(f"{step.setting} ({reason.rstrip('.')})")
            else:
                set_to(step.setting, target)
                changed.append(str(step.setting))
        if changed:
            self.message_user(request, f"Saved: {', '.join(changed)}.", messages.SUCCESS)
        if skipped:
            self.message_user(request, f"Left alone: {'; '.join(skipped)}.", messages.WARNING)

    def take_back_view(self, request: HttpRequest) -> HttpResponse:
        """Give the features of one change what they had before it."""
        number = request.POST.get("revision", "")
        if not is_number(number):
            raise Http404
        return self._save(request, partial(self._take_back, request, int(number)))

    def _take_back(self, request: HttpRequest, number: int) -> None:
        settings = take_back(number)
        told = "; ".join(f"{row}: {choice_words(row)}" for row in settings_of(settings))
        self.message_user(request, f"Taken back. {told}.", messages.SUCCESS)

    # --- The matrix ------------------------------------------------------------------------------

    def matrix_view(self, request: HttpRequest) -> HttpResponse:
        """Show every feature with every family."""
        deployments = list(ModelDeployment.objects.all())
        pins = dict(FeatureSetting.objects.values_list("feature", "prompt_version"))
        registry = shipped_prompts().registry
        verdicts = current_verdicts()
        context = {
            "families": [FAMILIES[family] for family in ModelFamily],
            "groups": [
                (
                    group,
                    [
                        (
                            FEATURES[feature].title,
                            [
                                cell_of(
                                    feature,
                                    family,
                                    registry,
                                    deployments,
                                    pins.get(feature, ""),
                                    verdicts,
                                )
                                for family in ModelFamily
                            ],
                        )
                        for feature in features
                    ],
                )
                for group, features in FEATURE_GROUPS.items()
            ],
        }
        return page(request, "gateway/matrix.html", "Support matrix", context)

    def cell_view(self, request: HttpRequest, feature: str, family: str) -> HttpResponse:
        """Show one feature with one family, and what can be done about it."""
        setting = next(iter(settings_of([feature])), None)
        if setting is None or family not in list(ModelFamily):
            raise Http404
        stored, deployments = Stored.read(), list(ModelDeployment.objects.filter(family=family))
        registry = shipped_prompts().registry
        cell = cell_of(
            Feature(feature),
            ModelFamily(family),
            registry,
            deployments,
            setting.prompt_version,
            current_verdicts(),
        )
        chosen = [choice.deployment_id for choice in setting.choices.all()]
        context = {
            "cell": cell,
            "prompts": [(prompt, PROMPT_IDS[prompt.prompt]) for prompt in cell.prompts],
            "setting": setting,
            "seen_version": version_of(setting),
            "answered_by": choice_words(setting),
            "candidates": [(row, stored.health(row.name), row.pk in chosen) for row in deployments],
            "can_change": self.has_change_permission(request),
        }
        return page(
            request,
            "gateway/matrix_cell.html",
            f"{cell.feature_title} with {cell.family_title}",
            context,
        )

    # --- What these share ------------------------------------------------------------------------

    def _save(
        self, request: HttpRequest, change: Callable[[], HttpResponse | None], feature: str = ""
    ) -> HttpResponse:
        """Make `change` one recorded change; it returns a page where it was refused."""
        try:
            with changing_configuration(attribution_of_request(request, Origin.WEB)) as recording:
                refusal = change()
        except (ConfigurationError, ValidationError) as error:
            self.message_user(request, _told(error), messages.ERROR)
            return self._to_page(feature)
        return refusal or self._to_page(feature, recording.revision)

    def _to_page(self, feature: str = "", revision: Revision | None = None) -> HttpResponse:
        url = reverse("admin:feature_config_featuresetting_changelist")
        query = f"?changed={revision.number}" if revision else ""
        return HttpResponseRedirect(url + query + (f"#{feature}" if feature else ""))


def _told(error: ConfigurationError | ValidationError) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else error.safe_message


def _row(
    setting: FeatureSetting,
    stored: Stored,
    deployments: list[ModelDeployment],
    verdicts: Mapping[tuple[Feature, UUID], CellVerdict],
    sent: FeatureRowForm | None,
) -> Row:
    feature = Feature(setting.feature)
    first = next(iter(setting.choices.all()), None)
    family = ModelFamily(first.family) if first else None
    form = sent or FeatureRowForm(
        instance=setting, deployments=deployments, auto_id=f"{feature}-%s"
    )
    return Row(
        setting=setting,
        form=form,
        standing=stored.standing(feature),
        level=describe_level(feature, family) if family else "",
        level_tone=level_tone(feature, family) if family else "",
        verdict=verdicts.get((feature, first.deployment_id)) if first else None,
        health=stored.health(first.deployment.name) if first else "",
        seen_version=version_of(setting),
        is_changed_here=differs_from_file(setting),
    )


def _target(text: str) -> Target | None:
    """Return what a form asks for; None if there is no such thing."""
    if text in {INACTIVE, UNASSIGNED}:
        return text
    try:
        return ModelDeployment.objects.active().filter(pk=text).first()
    except ValidationError:  # not the id of anything
        return None


def _changed_since(request: HttpRequest, step: Step) -> str:
    seen = request.POST.get(f"seen_version_{step.setting.feature}", "")
    return "" if seen == step.seen_version else "it was changed since you looked at the preview"
