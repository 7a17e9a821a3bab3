"""`deployments/`: the model servers."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as RowInvalid
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.configuration.guards import (
    check_may_be_deactivated,
    check_not_managed_by_file,
    version_of,
)
from gateway.configuration.history import changing_configuration
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
from selfhosted_models.families import ModelFamily
from selfhosted_models.fields import MAX_ENDPOINTS
from selfhosted_models.models import ModelDeployment

_KEEP = object()


_EXAMPLE = {
    "name": "codegemma-gpu1",
    "family": "codegemma-7b-it",
    "serving_format": "openai_text",
    "endpoints": ["http://10.0.4.11:8000/v1", "http://10.0.4.12:8000/v1 weight=3"],
    "model_identifier": "codegemma-7b-it",
    "context_tokens": 8192,
}


@example(
    {
        **_EXAMPLE,
        "id": "8ebe7c53-fe08-4e2b-b505-69e4bfe1dce0",
        "has_api_key": True,
        "api_key_hint": "cdef",
        "api_key_fingerprint": "fae0ae5979785f4b",
        "max_in_flight": None,
        "first_token_timeout_s": 5.0,
        "idle_timeout_s": None,
        "total_timeout_s": None,
        "is_active": True,
        "is_managed_by_file": False,
        "used_by": ["code_completions"],
        "created_at": "2026-11-22T12:00:00Z",
        "updated_at": "2026-11-22T12:30:00Z",
        "version": "196b8563d15b4a9a3a466df6483e7156",
    },
    sent={**_EXAMPLE, "api_key": "the-key-of-the-model-server"},
)
class DeploymentSerializer(serializers.ModelSerializer[ModelDeployment]):
    """A deployment. Its key is write-only: text replaces it, null removes it."""

    family = serializers.ChoiceField(
        choices=list(ModelFamily), help_text="The model line; it decides which prompts are used."
    )
    endpoints = serializers.ListField(
        child=serializers.CharField(max_length=2000),
        min_length=1,
        max_length=MAX_ENDPOINTS,
        help_text="Base URLs, as in http://10.0.4.11:8000/v1, each with an optional ` weight=3`.",
    )
    api_key = serializers.CharField(
        write_only=True,
        required=False,
        allow_null=True,
        max_length=2000,
        help_text="Sent as a bearer token. Never shown again; null removes it.",
    )
    has_api_key = serializers.BooleanField(read_only=True)
    is_managed_by_file = serializers.BooleanField(read_only=True)
    used_by = serializers.SerializerMethodField(help_text="The features it may answer.")
    version = serializers.SerializerMethodField(help_text="Its ETag, without quotes.")

    class Meta:
        model = ModelDeployment
        fields: ClassVar = (
            *("id", "name", "family", "serving_format", "endpoints", "model_identifier"),
            *("api_key", "has_api_key", "api_key_hint", "api_key_fingerprint"),
            *("context_tokens", "max_in_flight"),
            *("first_token_timeout_s", "idle_timeout_s", "total_timeout_s"),
            *("is_active", "is_managed_by_file", "used_by"),
            *("created_at", "updated_at", "version"),
        )
        read_only_fields: ClassVar = ("id", "api_key_hint", "api_key_fingerprint")

    def get_used_by(self, row: ModelDeployment) -> list[str]:
        return sorted(choice.setting_id for choice in row.choices.all())

    def get_version(self, row: ModelDeployment) -> str:
        return version_of(row)

    def create(self, validated_data: dict[str, Any]) -> ModelDeployment:
        return self.update(ModelDeployment(), validated_data)

    def update(self, instance: ModelDeployment, validated_data: dict[str, Any]) -> ModelDeployment:
        filled = self.fill(instance, validated_data)
        filled.save()
        return filled

    def fill(self, instance: ModelDeployment, validated_data: dict[str, Any]) -> ModelDeployment:
        """Write the fields, and let the model's own rules judge the row; it is not saved."""
        values = dict(validated_data)
        key = values.pop("api_key", _KEEP)
        for name, value in values.items():
            setattr(instance, name, value)
        if key is None:
            instance.remove_api_key()
        elif key is not _KEEP:
            set_api_key(instance, key)
        instance.full_clean()
        return instance


class ChangeQuery(OverrideQuery):
    """What a change is made in spite of."""

    deactivates_in_use = serializers.BooleanField(
        default=False, help_text="Deactivate it although features would lose it."
    )


def set_api_key(row: ModelDeployment, key: str) -> None:
    try:
        row.set_api_key(key)
    except RowInvalid as error:
        raise RowInvalid({"api_key": error.messages}) from error


@extend_schema_view(
    list=extend_schema(summary="List the deployments"),
    retrieve=extend_schema(summary="Show a deployment; its ETag is for If-Match"),
)
class Deployments(ListModelMixin, RestView):
    """The model servers."""

    queryset = ModelDeployment.objects.prefetch_related("choices")
    serializer_class = DeploymentSerializer
    filterset_fields = ("name", "family", "serving_format", "is_active")
    ordering_fields = ("name", "created_at", "updated_at")
    ordering = ("name",)
    required_scopes: ClassVar = {
        "list": Scope.READ_CONFIGURATION,
        "retrieve": Scope.READ_CONFIGURATION,
        "create": Scope.WRITE_CONFIGURATION,
        "partial_update": Scope.WRITE_CONFIGURATION,
        "destroy": Scope.WRITE_CONFIGURATION,
    }

    def retrieve(self, request: Request, **_: Any) -> Response:
        return self._told(self.get_object())

    @extend_schema(summary="Register a deployment", parameters=[IDEMPOTENCY_KEY, REASON])
    @idempotent
    def create(self, request: Request) -> Response:
        with changing_configuration(self.attribution()):
            serializer = self.get_serializer(data=request.data)
            serializer.is_valid(raise_exception=True)
            row = serializer.save()
        response = self._told(row, status=201)
        response["Location"] = f"{request.path}{row.pk}/"
        return response

    @extend_schema(
        summary="Change fields of a deployment", parameters=[IF_MATCH, REASON, ChangeQuery]
    )
    def partial_update(self, request: Request, **_: Any) -> Response:
        with changing_configuration(self.attribution()):
            row = self.get_object()
            self.check_may_change(row)
            serializer = self.get_serializer(row, data=request.data, partial=True)
            serializer.is_valid(raise_exception=True)
            self._check_may_be_deactivated(row, serializer.validated_data)
            serializer.save()
        return self._told(row)

    @extend_schema(
        summary="Delete a deployment that no feature uses", parameters=[IF_MATCH, REASON]
    )
    def destroy(self, request: Request, **_: Any) -> Response:
        with changing_configuration(self.attribution()):
            row = self.get_object()
            self.check_may_change(row)
            check_not_managed_by_file(row)  # never overridden: it goes with its lines in the file
            row.delete()
        return Response(status=204)

    def _check_may_be_deactivated(self, row: ModelDeployment, changes: Mapping[str, Any]) -> None:
        query = ChangeQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        is_deactivated = row.is_active and not changes.get("is_active", True)
        if is_deactivated and not query.validated_data["deactivates_in_use"]:
            check_may_be_deactivated(row)

    def _told(self, row: ModelDeployment, status: int = 200) -> Response:
        return Response(self.get_serializer(row).data, status, headers={"ETag": etag_of(row)})
