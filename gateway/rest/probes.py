"""`deployments/…/probe/`, `…/inspect/`, `probe-runs/`: asking model servers, without waiting."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.probes.jobs import cancel_probe, start_probe
from gateway.rest.deployments import DeploymentSerializer, set_api_key
from gateway.rest.examples import example
from gateway.rest.idempotency import idempotent
from gateway.rest.scopes import Scope
from gateway.rest.views import IDEMPOTENCY_KEY, RestView
from selfhosted_models.errors import EndpointRefused
from selfhosted_models.models import Fingerprint, ModelDeployment
from selfhosted_models.probe_runs import ProbeKind, ProbeRun
from selfhosted_models.probing.inspection import pasted_endpoint


class FingerprintSerializer(serializers.ModelSerializer[Fingerprint]):
    """What a server was measured to be."""

    facts = serializers.DictField(help_text="What is stable, by trait; requests are built from it.")
    differences = serializers.DictField(
        child=serializers.ListField(min_length=2, max_length=2),
        help_text="By trait, before and after; empty: no drift.",
    )

    class Meta:
        model = Fingerprint
        fields: ClassVar = ("digest", "facts", "differences", "created_at", "measured_at")


@example(
    {
        "id": 19,
        "kind": "measurement",
        "deployment": "8ebe7c53-fe08-4e2b-b505-69e4bfe1dce0",
        "state": "running",
        "reason": "",
        "results": [{"trait": "chat", "state": "yes", "value": None, "evidence": "It answered."}],
        "fingerprint": None,
        "started_by": "API token rails",
        "created_at": "2026-11-22T12:00:00Z",
        "started_at": "2026-11-22T12:00:01Z",
        "finished_at": None,
    }
)
class ProbeRunSerializer(serializers.ModelSerializer[ProbeRun]):
    """One question to a model server. It is over once `finished_at` is set."""

    results = serializers.ListField(
        child=serializers.DictField(), help_text="The findings so far, in the order they came."
    )
    deployment = serializers.UUIDField(source="deployment_id", allow_null=True)
    fingerprint = FingerprintSerializer(allow_null=True)

    class Meta:
        model = ProbeRun
        fields: ClassVar = (
            *("id", "kind", "deployment", "state", "reason", "results", "fingerprint"),
            *("started_by", "created_at", "started_at", "finished_at"),
        )
        read_only_fields = fields


@example(sent={"url": "10.0.4.11:8000", "api_key": "the-key-of-the-model-server"})
class InspectionSerializer(serializers.Serializer[Any]):
    """What somebody has of a model server: its URL, roughly, and maybe a key."""

    url = serializers.CharField(
        max_length=300,
        help_text="http://10.0.4.11:8000 is enough: the server says what belongs behind it, and "
        "which models it serves.",
    )
    api_key = serializers.CharField(
        required=False,
        max_length=2000,
        help_text="Only if the server wants one. Sent to this host alone, and kept encrypted for "
        "an hour at most.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        row = ModelDeployment()
        try:
            row.endpoints = [pasted_endpoint(attrs["url"]).url]
        except EndpointRefused as refusal:
            raise serializers.ValidationError({"url": refusal.admin_message}) from refusal
        if "api_key" in attrs:
            set_api_key(row, attrs["api_key"])
        return {"deployment": row}


class DeploymentProbes(RestView):
    """Asks model servers, registered or not; the answer comes at once, the findings later."""

    queryset = ModelDeployment.objects.all()
    serializer_class = ProbeRunSerializer
    required_scopes: ClassVar = dict.fromkeys(
        ("probe", "fingerprint", "inspect", "test", "test_changed"), Scope.WRITE_CONFIGURATION
    )

    @extend_schema(
        summary="Ask whether each endpoint works",
        request=None,
        responses={202: ProbeRunSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    @idempotent
    def probe(self, request: Request, **_: Any) -> Response:
        return self._start(ProbeKind.CHECK, self.get_object(), is_stored=True)

    @extend_schema(
        summary="Measure what the server can do, and store it",
        request=None,
        responses={202: ProbeRunSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    @idempotent
    def fingerprint(self, request: Request, **_: Any) -> Response:
        return self._start(ProbeKind.MEASUREMENT, self.get_object(), is_stored=True)

    @extend_schema(
        summary="Ask what is behind a URL, and what of it can be registered",
        request=InspectionSerializer,
        responses={202: ProbeRunSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    @idempotent
    def inspect(self, request: Request) -> Response:
        asked = InspectionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        return self._start(ProbeKind.INSPECTION, asked.validated_data["deployment"])

    @extend_schema(
        summary="Measure what a server can do before it is registered; nothing is stored",
        request=DeploymentSerializer,
        responses={202: ProbeRunSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    @idempotent
    def test(self, request: Request) -> Response:
        return self._test(DeploymentSerializer(data=request.data), ModelDeployment())

    @extend_schema(
        operation_id="deployments_test_changed",
        summary="Measure what a deployment could do if it were changed so; nothing is stored",
        request=DeploymentSerializer(partial=True),
        responses={202: ProbeRunSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    @idempotent
    def test_changed(self, request: Request, **_: Any) -> Response:
        row = self.get_object()
        return self._test(DeploymentSerializer(row, data=request.data, partial=True), row)

    def _test(self, wanted: DeploymentSerializer, row: ModelDeployment) -> Response:
        wanted.is_valid(raise_exception=True)
        return self._start(ProbeKind.MEASUREMENT, wanted.fill(row, wanted.validated_data))

    def _start(self, kind: ProbeKind, row: ModelDeployment, *, is_stored: bool = False) -> Response:
        run = start_probe(kind, row, self.attribution(), is_stored=is_stored)
        response = Response(self.get_serializer(run).data, status=202)
        response["Location"] = f"/api/v1/probe-runs/{run.pk}/"
        return response


@extend_schema_view(
    list=extend_schema(summary="List what model servers were asked, newest first"),
    retrieve=extend_schema(summary="Show what was found so far"),
)
class ProbeRuns(ListModelMixin, RetrieveModelMixin, RestView):
    """What model servers were asked lately, by anybody."""

    queryset = ProbeRun.objects.select_related("fingerprint")
    serializer_class = ProbeRunSerializer
    filterset_fields = ("kind", "state", "deployment")
    ordering_fields = ("id",)
    ordering = ("-id",)
    lookup_url_kwarg = "number"
    required_scopes: ClassVar = {
        "list": Scope.READ_CONFIGURATION,
        "retrieve": Scope.READ_CONFIGURATION,
        "cancel": Scope.WRITE_CONFIGURATION,
    }

    @extend_schema(
        summary="Cancel one that is not over", request=None, parameters=[IDEMPOTENCY_KEY]
    )
    @idempotent
    def cancel(self, request: Request, **_: Any) -> Response:
        run = self.get_object()
        cancel_probe(run)
        return Response(self.get_serializer(run).data)
