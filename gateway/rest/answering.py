"""`prompts/…/render/`, `explain/…/`, `routing/…/`: what would be asked, and who would answer."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feature_config.catalogue import FEATURES, Feature
from feature_config.models import FeatureSetting
from gateway.authentication.verifier import Caller
from gateway.configuration.stored import read_configuration
from gateway.explain import Explanation, Stop, explain
from gateway.gates import Candidate, Gate
from gateway.probes.endpoint_news import stored_news
from gateway.rest.examples import example
from gateway.rest.features import feature_of
from gateway.rest.scopes import Scope
from gateway.rest.views import RestView
from gateway.routing.endpoint_state import HealthState
from gateway.snapshot import build_snapshot
from prompts.loader import shipped_prompts
from prompts.preview import preview, prompt_of
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox

_FEATURE = OpenApiParameter("feature", str, OpenApiParameter.PATH, enum=list(Feature))


# --- Prompts --------------------------------------------------------------------------------------


@example(
    sent={
        "family": "mixtral-8x7b-instruct",
        "inputs": {"prompt": "Undo my last commit."},
    }
)
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


@example(
    {
        "prompt_id": "glab_ask_git_command",
        "variant": "general",
        "version": "1.0.0",
        "digest": "22daa01b78273474",
        "title": "Git Suggestions",
        "output": "text",
        "messages": [{"role": "user", "content": "Undo my last commit."}],
        "parameters": {"temperature": 0.1, "stop": []},
        "budget": {"context_tokens": 8192, "max_output_tokens": 1024},
        "cut_inputs": [],
    }
)
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


_EXAMPLE_STOP = {
    "order": 1,
    "deployment": "mixtral-a",
    "url": "http://10.0.4.11:8000/v1",
    "state": "healthy",
    "reason": "",
    "heard_at": "2026-11-22T12:30:00Z",
}


class StopSerializer(serializers.Serializer[Any]):
    """An endpoint on the way of a request, as workers last heard of it."""

    order = serializers.IntegerField(
        help_text="1 is asked first; of endpoints with one number the less loaded is asked."
    )
    deployment = serializers.CharField()
    url = serializers.CharField()
    state = serializers.ChoiceField(choices=list(HealthState))
    reason = serializers.CharField(help_text="What is wrong and what to do; empty: nothing.")
    heard_at = serializers.DateTimeField(allow_null=True, help_text="Null: never yet.")


@example(
    {
        "feature": "duo_chat",
        "would_answer": True,
        "remedy": "",
        "gates": [
            {"name": "token", "is_open": True, "detail": "a valid token of user-1", "code": ""},
            {
                "name": "servers",
                "is_open": True,
                "detail": "mixtral-a would answer",
                "code": "",
            },
        ],
        "candidates": [
            {
                "deployment": "mixtral-a",
                "family": "mixtral-8x7b-instruct",
                "prompt_variant": "general",
                "prompt_version": "1.0.0",
            }
        ],
        "way": [_EXAMPLE_STOP],
    }
)
class ExplanationSerializer(serializers.Serializer[Any]):
    """The gates in order, up to the first that is shut, and who would answer if none is."""

    feature = serializers.ChoiceField(choices=list(Feature))
    would_answer = serializers.BooleanField()
    remedy = serializers.CharField(help_text="What to do; empty if it would answer.")
    gates = GateSerializer(many=True)
    candidates = CandidateSerializer(many=True, help_text="First choice first.")
    way = StopSerializer(many=True, help_text="Their endpoints.")


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
        found = _explained(
            feature_of(feature),
            query.validated_data["user"],
            query.validated_data.get("scopes"),
        )
        return Response(
            {
                "feature": found.feature,
                "would_answer": found.is_open,
                "remedy": found.remedy,
                "gates": [_gate(gate) for gate in found.gates],
                "candidates": [_candidate(candidate) for candidate in found.candidates],
                "way": [_stop(stop) for stop in found.way],
            }
        )


def _explained(feature: Feature, user: str = "", scopes: str | None = None) -> Explanation:
    """Return what a user who carries `scopes`, or else what is needed, would meet."""
    carried = FEATURES[feature].unit_primitive if scopes is None else scopes
    caller = Caller(
        subject=user,
        scopes=frozenset(scope.strip() for scope in carried.split(",")),
        is_own_issued=False,
    )
    box = SecretBox(settings.ENCRYPTION_KEYS)
    snapshot = build_snapshot(read_configuration(), shipped_prompts().registry, box)
    return explain(feature, caller, snapshot, stored_news())


# --- Routing --------------------------------------------------------------------------------------


@example(
    {
        "feature": "duo_chat",
        "deployment": "mixtral-a",
        "why": "mixtral-a would answer",
        "remedy": "",
        "way": [_EXAMPLE_STOP],
    }
)
class RoutingSerializer(serializers.Serializer[Any]):
    """What would answer now, and why it is that."""

    feature = serializers.ChoiceField(choices=list(Feature))
    deployment = serializers.CharField(
        allow_null=True, help_text="Which would be asked first; null: none."
    )
    why = serializers.CharField(help_text="What led to it, or what is in the way.")
    remedy = serializers.CharField(help_text="What to do; empty if something would answer.")
    way = StopSerializer(many=True, help_text="All that may be asked, in order.")


class Routing(RestView):
    """Where a request of somebody who may use the feature would go."""

    required_scopes: ClassVar = {"retrieve": Scope.READ_CONFIGURATION}
    serializer_class = RoutingSerializer

    @extend_schema(summary="Tell what would answer a feature now, and why", parameters=[_FEATURE])
    def retrieve(self, request: Request, feature: str) -> Response:
        found = _explained(feature_of(feature))
        answering = (stop.deployment for stop in found.way if stop.state != HealthState.DOWN)
        return Response(
            {
                "feature": found.feature,
                "deployment": next(answering, None),
                "why": found.gates[-1].detail,
                "remedy": found.remedy,
                "way": [_stop(stop) for stop in found.way],
            }
        )


def _stop(stop: Stop) -> dict[str, Any]:
    heard_at = stop.heard_at
    return asdict(stop) | {
        "heard_at": None if heard_at is None else datetime.fromtimestamp(heard_at, UTC)
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
