"""`prompts/{feature}/render/`, `explain/{feature}/`: what would be asked, and who would answer."""

from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feature_config.catalogue import FEATURES, Feature, own_prompts
from feature_config.models import FeatureSetting
from gateway.auth import Caller
from gateway.configuration.stored import read_configuration
from gateway.gates import Access, Candidate, Decision, Gate, decide
from gateway.model_metadata import ModelMetadataPolicy
from gateway.rest.features import feature_of
from gateway.rest.scopes import Scope
from gateway.rest.views import RestView
from gateway.snapshot import build_snapshot
from prompts.loader import shipped_prompts
from prompts.preview import preview, prompt_of
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox

_FEATURE = OpenApiParameter("feature", str, OpenApiParameter.PATH, enum=list(Feature))


# --- Prompts --------------------------------------------------------------------------------------


class RenderSerializer(serializers.Serializer[Any]):
    """What to fill in, and for which model: give a family or a deployment."""

    family = serializers.ChoiceField(choices=list(ModelFamily), required=False)
    deployment = serializers.CharField(required=False, max_length=100, help_text="Its name.")
    inputs = serializers.DictField(default=dict, help_text="As a caller sends them.")
    version = serializers.CharField(
        required=False,
        max_length=64,
        help_text="Constraint on the version, as in ~1.2, beside the admin's.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("family" in attrs) == ("deployment" in attrs):
            raise serializers.ValidationError("Give either a family or a deployment.")
        if "deployment" in attrs:
            row = ModelDeployment.objects.filter(name=attrs["deployment"]).first()
            if row is None:
                raise serializers.ValidationError({"deployment": "There is none of this name."})
            attrs |= {"family": row.family, "context_tokens": row.context_tokens}
        return attrs


class RenderedSerializer(serializers.Serializer[Any]):
    """A prompt as it would be sent: as messages, or as one text."""

    prompt_id = serializers.CharField()
    variant = serializers.CharField()
    version = serializers.CharField()
    digest = serializers.CharField()
    title = serializers.CharField()
    output = serializers.CharField()
    text = serializers.CharField(required=False)
    messages = serializers.ListField(child=serializers.DictField(), required=False)
    parameters = serializers.DictField()
    budget = serializers.DictField()
    cut_inputs = serializers.ListField(child=serializers.CharField())


class Prompts(RestView):
    """What would be sent to a model."""

    serializer_class = RenderSerializer
    required_scopes: ClassVar = {"render": Scope.READ_CONFIGURATION}

    @extend_schema(
        summary="Render the prompt of a feature without asking a model",
        responses=RenderedSerializer,
        parameters=[_FEATURE],
    )
    def render(self, request: Request, feature: str) -> Response:
        asked = RenderSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values, of = asked.validated_data, feature_of(feature)
        document = preview(
            shipped_prompts().registry,
            prompt_of(of),
            ModelFamily(values["family"]),
            values["inputs"],
            context_tokens=values.get("context_tokens"),
            constraint=values.get("version"),
            pin=FeatureSetting.objects.get(pk=of).prompt_version,
        )
        return Response({name: value for name, value in document.items() if value is not None})


# --- Explain --------------------------------------------------------------------------------------


class ExplainQuery(serializers.Serializer[Any]):
    user = serializers.CharField(default="", max_length=128, help_text="Whose request it would be.")
    scopes = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=2000,
        help_text="What the user's token would carry, comma-separated; left out: what is needed.",
    )


class GateSerializer(serializers.Serializer[Any]):
    """One question and its answer."""

    name = serializers.CharField()
    is_open = serializers.BooleanField()
    detail = serializers.CharField(help_text="What was found; of a shut gate, what to do.")
    code = serializers.CharField(help_text="Of the error a request would get; empty if open.")


class CandidateSerializer(serializers.Serializer[Any]):
    """A deployment that may answer, and the prompt it would be given."""

    deployment = serializers.CharField()
    family = serializers.ChoiceField(choices=list(ModelFamily))
    prompt_variant = serializers.CharField()
    prompt_version = serializers.CharField()


class ExplanationSerializer(serializers.Serializer[Any]):
    """The gates in order, up to the first that is shut, and who would answer if none is."""

    feature = serializers.ChoiceField(choices=list(Feature))
    would_answer = serializers.BooleanField()
    gates = GateSerializer(many=True)
    candidates = CandidateSerializer(many=True, help_text="First choice first.")


class Explain(RestView):
    """Whether a feature would answer, and who."""

    required_scopes: ClassVar = {"retrieve": Scope.READ_CONFIGURATION}
    serializer_class = ExplanationSerializer

    @extend_schema(
        summary="Tell whether a feature would answer, and if not, what to do",
        parameters=[_FEATURE, ExplainQuery],
    )
    def retrieve(self, request: Request, feature: str) -> Response:
        query = ExplainQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = feature_of(feature)
        needed = FEATURES[asked].unit_primitive
        scopes = query.validated_data.get("scopes", needed)
        caller = Caller(
            subject=query.validated_data["user"],
            scopes=frozenset(scope.strip() for scope in scopes.split(",")),
            is_own_issued=False,
        )
        decision = decide(
            build_snapshot(
                read_configuration(),
                shipped_prompts().registry,
                SecretBox(settings.ENCRYPTION_KEYS),
            ),
            caller,
            Access(
                feature=asked,
                unit_primitive=needed,
                prompt=own_prompts(asked)[0],
                denied_detail=f"The token lacks the scope {needed}.",
            ),
            caller_model=None,
            policy=ModelMetadataPolicy(settings.GATEWAY_MODEL_METADATA),
        )
        return Response(_explanation(asked, decision))


def _explanation(feature: Feature, decision: Decision) -> dict[str, Any]:
    return {
        "feature": feature,
        "would_answer": decision.error is None,
        "gates": [_gate(gate) for gate in decision.gates],
        "candidates": [_candidate(candidate) for candidate in decision.candidates],
    }


def _gate(gate: Gate) -> dict[str, Any]:
    return {
        "name": gate.name,
        "is_open": gate.error is None,
        "detail": gate.detail,
        "code": gate.error.code if gate.error else "",
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "deployment": candidate.serving.deployment,
        "family": candidate.serving.family,
        "prompt_variant": candidate.prompt.variant,
        "prompt_version": str(candidate.prompt.version),
    }
