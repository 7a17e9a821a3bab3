"""`deployments/{id}/probe/`, `…/fingerprint/`: asking a model server, without waiting for it."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.probes.jobs import cancel_probe, start_probe
from gateway.rest.idempotency import idempotent
from gateway.rest.scopes import Scope
from gateway.rest.views import IDEMPOTENCY_KEY, RestView
from selfhosted_models.models import Fingerprint, ModelDeployment
from selfhosted_models.probe_runs import ProbeKind, ProbeRun


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


class _Probing(RestView):
    """What answers with a run."""

    serializer_class = ProbeRunSerializer

    def started(self, run: ProbeRun) -> Response:
        response = Response(self.get_serializer(run).data, status=202)
        response["Location"] = f"/api/v1/probe-runs/{run.pk}/"
        return response


class DeploymentProbes(_Probing):
    """Asks the servers of a deployment; the answer comes at once, the findings later."""

    queryset = ModelDeployment.objects.all()
    required_scopes: ClassVar = {
        "probe": Scope.WRITE_CONFIGURATION,
        "fingerprint": Scope.WRITE_CONFIGURATION,
    }

    @extend_schema(
        summary="Ask whether each endpoint works",
        request=None,
        responses={202: ProbeRunSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    @idempotent
    def probe(self, request: Request, **_: Any) -> Response:
        return self._start(ProbeKind.CHECK)

    @extend_schema(
        summary="Measure what the server can do, and store it",
        request=None,
        responses={202: ProbeRunSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    @idempotent
    def fingerprint(self, request: Request, **_: Any) -> Response:
        return self._start(ProbeKind.MEASUREMENT)

    def _start(self, kind: ProbeKind) -> Response:
        run = start_probe(kind, self.get_object(), self.attribution(), is_stored=True)
        return self.started(run)


@extend_schema_view(
    list=extend_schema(summary="List what model servers were asked, newest first"),
    retrieve=extend_schema(summary="Show what was found so far"),
)
class ProbeRuns(ListModelMixin, RetrieveModelMixin, _Probing):
    """What model servers were asked lately, by anybody."""

    queryset = ProbeRun.objects.select_related("fingerprint")
    filterset_fields = ("kind", "state", "deployment")
    ordering_fields = ("id",)
    ordering = ("-id",)
    lookup_url_kwarg = "number"
    required_scopes: ClassVar = {
        "list": Scope.READ_CONFIGURATION,
        "retrieve": Scope.READ_CONFIGURATION,
        "cancel": Scope.WRITE_CONFIGURATION,
    }

    @extend_schema(summary="Cancel one that is not over", request=None)
    def cancel(self, request: Request, **_: Any) -> Response:
        run = self.get_object()
        cancel_probe(run)
        return Response(self.get_serializer(run).data)
