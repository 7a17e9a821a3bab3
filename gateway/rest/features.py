"""`features/`: the catalogue; `feature-settings/`: what answers each feature."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import ValidationError as RowInvalid
from django.db import transaction
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from feature_config.catalogue import FEATURES, Feature
from feature_config.models import MAX_CHOICES, FeatureSetting
from feature_config.support import SupportLevel
from gateway.configuration.guards import (
    check_not_managed_by_file,
    check_unchanged,
    version_of,
)
from gateway.configuration.history import changing_configuration
from gateway.configuration.stored import choice_of
from gateway.evaluation.verdicts import CellVerdict, current_verdicts
from gateway.rest.changes import OutcomeSerializer, outcome_of
from gateway.rest.examples import example
from gateway.rest.idempotency import idempotent
from gateway.rest.scopes import Scope
from gateway.rest.views import (
    IDEMPOTENCY_KEY,
    IF_MATCH,
    REASON,
    OverrideQuery,
    RestView,
    etag_of,
)
from selfhosted_models.families import FAMILIES, ModelFamily
from selfhosted_models.models import ModelDeployment


def feature_of(name: str) -> Feature:
    """Return the feature a path names.

    Raises:
        NotFound: There is none of that id.
    """
    try:
        return Feature(name)
    except ValueError as error:
        known = ", ".join(Feature)
        raise NotFound(f"There is no feature '{name[:60]}'. There is: {known}.") from error


# --- The catalogue --------------------------------------------------------------------------------


class LevelSerializer(serializers.Serializer[Any]):
    """One cell of the matrix."""

    family = serializers.ChoiceField(choices=list(ModelFamily))
    title = serializers.CharField()
    level = serializers.ChoiceField(choices=list(SupportLevel))
    is_on_supported_list = serializers.BooleanField()


class SiteVerdictSerializer(serializers.Serializer[Any]):
    """What this site's newest evaluation of a deployment says; it never replaces the level."""

    deployment = serializers.CharField()
    family = serializers.ChoiceField(choices=list(ModelFamily))
    run = serializers.IntegerField(help_text="As in evaluations/{number}/.")
    is_pass = serializers.BooleanField()
    share = serializers.FloatField(help_text="Of the cases that passed, 0 to 1.")
    suite = serializers.CharField()
    suite_version = serializers.CharField()
    prompt_version = serializers.CharField()
    finished_at = serializers.DateTimeField(allow_null=True)
    is_expired = serializers.BooleanField(
        help_text="Prompt or model server are others than those that were evaluated."
    )


@example(
    {
        "feature": "git_suggestions",
        "title": "Git Suggestions",
        "default_elsewhere": "Vertex codechat-bison",
        "unit_primitive": "glab_ask_git_command",
        "wire_prompt_id": "glab_ask_git_command",
        "levels": [
            {
                "family": "mixtral-8x7b-instruct",
                "title": "Mixtral 8x7B Instruct",
                "level": "to_be_evaluated",
                "is_on_supported_list": True,
            }
        ],
        "verdicts": [
            {
                "deployment": "mixtral-a",
                "family": "mixtral-8x7b-instruct",
                "run": 7,
                "is_pass": True,
                "share": 0.6667,
                "suite": "git_suggestions",
                "suite_version": "1.0.0",
                "prompt_version": "1.0.0",
                "finished_at": "2026-11-22T12:00:31Z",
                "is_expired": False,
            }
        ],
    }
)
class FeatureSerializer(serializers.Serializer[Any]):
    """What is fixed about a feature, and what was found out about it here."""

    feature = serializers.ChoiceField(choices=list(Feature))
    title = serializers.CharField()
    default_elsewhere = serializers.CharField()
    unit_primitive = serializers.CharField(help_text="The scope of a token that may use it.")
    wire_prompt_id = serializers.CharField(allow_null=True)
    levels = LevelSerializer(many=True)
    verdicts = SiteVerdictSerializer(many=True, help_text="Of the deployments evaluated here.")


@extend_schema_view(
    list=extend_schema(
        summary="List the features with their support levels",
        responses=FeatureSerializer(many=True),
    ),
    retrieve=extend_schema(summary="Show a feature", responses=FeatureSerializer),
)
class Features(RestView):
    """The features of GitLab Duo that there are."""

    pagination_class = None
    filter_backends = ()
    serializer_class = FeatureSerializer
    required_scopes: ClassVar = {
        "list": Scope.READ_CONFIGURATION,
        "retrieve": Scope.READ_CONFIGURATION,
    }

    def list(self, request: Request) -> Response:
        verdicts = current_verdicts()
        return Response([_facts_of(feature, verdicts) for feature in Feature])

    def retrieve(self, request: Request, feature: str) -> Response:
        return Response(_facts_of(feature_of(feature), current_verdicts()))


def _facts_of(feature: Feature, verdicts: Mapping[tuple[Feature, UUID], CellVerdict]) -> Any:
    facts = FEATURES[feature]
    return {
        "feature": feature,
        "title": facts.title,
        "default_elsewhere": facts.default_elsewhere,
        "unit_primitive": facts.unit_primitive,
        "wire_prompt_id": facts.wire_prompt_id,
        "levels": [
            {
                "family": family,
                "title": FAMILIES[family].title,
                "level": level,
                "is_on_supported_list": FAMILIES[family].is_on_supported_list,
            }
            for family, level in facts.levels.items()
        ],
        "verdicts": [_verdict(cell) for (of, _), cell in verdicts.items() if of is feature],
    }


def _verdict(cell: CellVerdict) -> dict[str, Any]:
    run = cell.run
    return {
        "deployment": run.deployment.name,
        "family": run.deployment.family,
        "run": run.pk,
        "is_pass": cell.verdict.is_pass,
        "share": round(cell.verdict.share, 4),
        "suite": run.suite,
        "suite_version": run.suite_version,
        "prompt_version": run.prompt_version,
        "finished_at": run.finished_at,
        "is_expired": cell.is_expired,
    }


# --- The settings ---------------------------------------------------------------------------------


_EXAMPLE = {"deployments": ["mixtral-a", "mixtral-b"], "prompt_version": "~1.0"}


@example(sent=_EXAMPLE)
class ChoiceSerializer(serializers.Serializer[Any]):
    """What answers a feature, whole: what is left out is at its default."""

    deployments = serializers.ListField(
        child=serializers.CharField(max_length=100),
        default=list,
        max_length=MAX_CHOICES,
        help_text="Names, first choice first; none leaves the feature unassigned.",
    )
    is_inactive = serializers.BooleanField(default=False, help_text="Refused to everyone.")
    prompt_version = serializers.CharField(
        default="", allow_blank=True, max_length=64, help_text="As in 1.0.0, ~1.2 or ^1.0.0."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["is_inactive"] and attrs["deployments"]:
            raise serializers.ValidationError(
                {"deployments": "An inactive feature is answered by none: leave them out."}
            )
        return attrs


@example(
    {
        **_EXAMPLE,
        "is_inactive": False,
        "feature": "duo_chat",
        "is_managed_by_file": False,
        "updated_at": "2026-11-22T12:30:00Z",
        "version": "d986ab2a60260e1918f7039077cf92da",
    }
)
class FeatureSettingSerializer(ChoiceSerializer):
    """A setting as it is stored."""

    feature = serializers.ChoiceField(choices=list(Feature), read_only=True)
    is_managed_by_file = serializers.BooleanField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)
    version = serializers.CharField(read_only=True, help_text="Its ETag, without quotes.")

    def to_representation(self, instance: FeatureSetting) -> dict[str, Any]:
        choice = choice_of(instance)
        stored = {
            "feature": instance.feature,
            "deployments": list(choice.deployments),
            "is_inactive": choice.is_inactive,
            "prompt_version": choice.prompt_version,
            "is_managed_by_file": instance.is_managed_by_file,
            "updated_at": instance.updated_at,
            "version": version_of(instance),
        }
        return super().to_representation(stored)


class BulkItemSerializer(ChoiceSerializer):
    """One setting of many."""

    feature = serializers.ChoiceField(choices=list(Feature))
    version = serializers.CharField(
        required=False, help_text="What you looked at; left out, whatever there is is overwritten."
    )


@example(
    sent={
        "settings": [
            {"feature": "duo_chat", **_EXAMPLE},
            {"feature": "git_suggestions", "is_inactive": True},
        ],
        "preview": True,
    }
)
class BulkSerializer(serializers.Serializer[Any]):
    """Several settings: all of them, or none."""

    settings = BulkItemSerializer(many=True, allow_empty=False)
    preview = serializers.BooleanField(default=False, help_text="Only tell what would change.")
    override_file = serializers.BooleanField(
        default=False, help_text="Change also what a configuration file manages."
    )

    def validate_settings(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len({item["feature"] for item in items}) < len(items):
            raise serializers.ValidationError("A feature is named twice: name each once.")
        return items


@extend_schema_view(
    list=extend_schema(
        summary="List what answers each feature", responses=FeatureSettingSerializer(many=True)
    ),
    retrieve=extend_schema(
        summary="Show what answers a feature; its ETag is for If-Match",
        responses=FeatureSettingSerializer,
    ),
)
class FeatureSettings(RestView):
    """What answers each feature."""

    queryset = FeatureSetting.objects.prefetch_related("choices__deployment")
    serializer_class = FeatureSettingSerializer
    lookup_field = "feature"
    pagination_class = None
    filter_backends = ()
    required_scopes: ClassVar = {
        "list": Scope.READ_CONFIGURATION,
        "retrieve": Scope.READ_CONFIGURATION,
        "update": Scope.WRITE_CONFIGURATION,
        "bulk": Scope.WRITE_CONFIGURATION,
    }

    def list(self, request: Request) -> Response:
        return Response(self.get_serializer(self.get_queryset(), many=True).data)

    def retrieve(self, request: Request, feature: str) -> Response:
        return self._told(feature_of(feature))

    @extend_schema(
        summary="Set what answers a feature",
        request=ChoiceSerializer,
        parameters=[IF_MATCH, REASON, OverrideQuery],
    )
    def update(self, request: Request, feature: str) -> Response:
        wanted = ChoiceSerializer(data=request.data)
        with changing_configuration(self.attribution()):
            row = self.get_queryset().get(pk=feature_of(feature))
            self.check_may_change(row)
            wanted.is_valid(raise_exception=True)
            _answer(row, wanted.validated_data)
        return self._told(feature_of(feature))

    @extend_schema(
        summary="Set what answers several features, or preview that",
        request=BulkSerializer,
        responses=OutcomeSerializer,
        parameters=[IDEMPOTENCY_KEY, REASON],
    )
    @idempotent
    def bulk(self, request: Request) -> Response:
        wanted = BulkSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        is_preview = wanted.validated_data["preview"]
        with transaction.atomic():
            with changing_configuration(self.attribution()) as recording:
                self._answer_all(wanted.validated_data)
            if is_preview:
                transaction.set_rollback(True)
        revision = None if is_preview else recording.revision
        return Response(outcome_of(recording.changes, revision))

    def _answer_all(self, wanted: Mapping[str, Any]) -> None:
        errors: dict[str, Any] = {}
        for position, item in enumerate(wanted["settings"]):
            row = self.get_queryset().get(pk=item["feature"])
            if "version" in item:
                check_unchanged(row, item["version"])
            if not wanted["override_file"]:
                check_not_managed_by_file(row)
            try:
                _answer(row, item)
            except serializers.ValidationError as error:
                errors[f"settings.{position}"] = error.detail
        if errors:
            raise serializers.ValidationError(errors)

    def _told(self, feature: Feature) -> Response:
        row = self.get_queryset().get(pk=feature)
        return Response(self.get_serializer(row).data, headers={"ETag": etag_of(row)})


def _answer(row: FeatureSetting, choice: Mapping[str, Any]) -> None:
    """Make the choice by the setting's own verb; its rules are told by field."""
    try:
        row.choose(
            _named(choice["deployments"]),
            is_inactive=choice["is_inactive"],
            prompt_version=choice["prompt_version"],
        )
    except RowInvalid as error:
        raise serializers.ValidationError(error.message_dict) from error


def _named(names: Sequence[str]) -> list[ModelDeployment]:
    found = {row.name: row for row in ModelDeployment.objects.filter(name__in=names)}
    if unknown := [name for name in names if name not in found]:
        raise serializers.ValidationError(
            {
                "deployments": [
                    f"No deployment is named '{name}': register it first." for name in unknown
                ]
            }
        )
    return [found[name] for name in names]
