"""`usage/` and `request-logs/`: what requests came to, over time and one by one."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from feature_config.catalogue import Feature
from gateway.exchange import Ending
from gateway.models import LoggedRequest
from gateway.rest.examples import example
from gateway.rest.scopes import Scope
from gateway.rest.views import RestView
from gateway.usage.filters import LoggedRequestFilter
from gateway.usage.series import (
    MAX_POINTS,
    By,
    Figures,
    Period,
    Window,
    points,
    points_by,
    totals_by,
)

MAX_SERIES = 20
#: How far back a window goes that has no beginning.
_DEFAULT_SPAN: Mapping[Period, timedelta] = MappingProxyType(
    {
        Period.HOUR: timedelta(hours=24),
        Period.SIX_HOURS: timedelta(days=7),
        Period.DAY: timedelta(days=30),
        Period.WEEK: timedelta(weeks=26),
    }
)


# --- Over time ------------------------------------------------------------------------------------


class UsageQuery(serializers.Serializer[Any]):
    """Which time, in which steps, and what of it."""

    period = serializers.ChoiceField(
        choices=list(Period), default=Period.HOUR.value, help_text="What one point stands for."
    )
    since = serializers.DateTimeField(
        required=False, help_text="Left out: 24 hours, 30 days or 26 weeks before `until`."
    )
    until = serializers.DateTimeField(required=False, help_text="Left out: now.")
    by = serializers.ChoiceField(
        choices=list(By),
        required=False,
        help_text="A series for each of these, the busiest first; left out: one for all together.",
    )
    top = serializers.IntegerField(
        default=10, min_value=1, max_value=MAX_SERIES, help_text="Series at most, with `by`."
    )
    feature = serializers.ChoiceField(
        choices=list(Feature), required=False, help_text="Only requests for it."
    )
    deployment = serializers.CharField(
        required=False, max_length=100, help_text="Only requests it answered, or was to answer."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        period = Period(attrs["period"])
        until: datetime = attrs.get("until") or timezone.now()
        try:
            since: datetime = attrs.get("since") or until - _DEFAULT_SPAN[period]
            only = {name: attrs.get(name) for name in ("feature", "deployment")}
            window = Window.around(period, since, until, **only)
        except OverflowError as error:
            raise serializers.ValidationError("There is no such time.") from error
        if since >= until:
            raise serializers.ValidationError({"since": "It must be before `until`."})
        if window.point_count > MAX_POINTS:
            raise serializers.ValidationError(
                f"That is more than {MAX_POINTS} points: ask for less time, or longer steps."
            )
        return {**attrs, "window": window}


class PointSerializer(serializers.Serializer[Any]):
    """What requests came to from `start` until the next point."""

    start = serializers.DateTimeField()
    requests = serializers.IntegerField()
    answered = serializers.IntegerField()
    refused = serializers.IntegerField(help_text="For what the caller did, or an inactive feature.")
    failed = serializers.IntegerField(help_text="For what the gateway or a model server did.")
    cancelled = serializers.IntegerField(help_text="The client left before the end.")
    unrecorded = serializers.IntegerField(
        help_text="Requests beside these that could not be recorded; always 0 in a part."
    )
    error_rate = serializers.FloatField(
        allow_null=True, help_text="Failed as a share of answered and failed; null: neither was."
    )
    input_tokens = serializers.IntegerField(help_text="As the model servers counted them.")
    output_tokens = serializers.IntegerField()
    first_token_p50_ms = serializers.FloatField(allow_null=True)
    first_token_p95_ms = serializers.FloatField(allow_null=True)
    total_p50_ms = serializers.FloatField(allow_null=True, help_text="Of answers, to the end.")
    total_p95_ms = serializers.FloatField(allow_null=True)


class SeriesSerializer(serializers.Serializer[Any]):
    """The points of one feature or deployment, oldest first."""

    name = serializers.CharField(
        allow_null=True, help_text="null: all together; empty: requests that asked for none."
    )
    points = PointSerializer(many=True)


@example(
    {
        "period": "hour",
        "since": "2026-11-22T12:00:00Z",
        "until": "2026-11-22T13:00:00Z",
        "series": [
            {
                "name": "duo_chat",
                "points": [
                    {
                        "start": "2026-11-22T12:00:00Z",
                        "requests": 412,
                        "answered": 380,
                        "refused": 9,
                        "failed": 3,
                        "cancelled": 20,
                        "unrecorded": 0,
                        "error_rate": 0.0078,
                        "input_tokens": 401220,
                        "output_tokens": 30115,
                        "first_token_p50_ms": 310.0,
                        "first_token_p95_ms": 920.0,
                        "total_p50_ms": 1240.0,
                        "total_p95_ms": 4300.0,
                    }
                ],
            }
        ],
    }
)
class UsageSerializer(serializers.Serializer[Any]):
    """Series over the whole points that hold the time asked for; UTC, weeks begin on Mondays."""

    period = serializers.ChoiceField(choices=list(Period))
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    series = SeriesSerializer(many=True)


class Usage(RestView):
    """What requests came to over time."""

    required_scopes: ClassVar = {"retrieve": Scope.READ_USAGE}

    @extend_schema(
        summary="Show requests, errors, latency and tokens over time",
        responses=UsageSerializer,
        parameters=[UsageQuery],
    )
    def retrieve(self, request: Request) -> Response:
        query = UsageQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        window: Window = asked["window"]
        series: dict[str | None, list[Figures]] = {}
        if "by" in asked:
            by = By(asked["by"])
            busiest = [*totals_by(window)[by]][: asked["top"]]
            series.update(points_by(window, by, busiest))
        else:
            series[None] = points(window)
        told = {
            "period": window.period,
            "since": window.since,
            "until": window.until,
            "series": [
                {"name": name, "points": [*map(_point, window.starts, of_name)]}
                for name, of_name in series.items()
            ],
        }
        return Response(UsageSerializer(told).data)


def _point(start: datetime, figures: Figures) -> dict[str, Any]:
    names = ("requests", "answered", "refused", "failed", "cancelled", "unrecorded")
    return {
        "start": start,
        **{name: getattr(figures, name) for name in names},
        "error_rate": figures.error_rate,
        "input_tokens": figures.input_tokens,
        "output_tokens": figures.output_tokens,
        "first_token_p50_ms": figures.first_token_ms(0.5),
        "first_token_p95_ms": figures.first_token_ms(0.95),
        "total_p50_ms": figures.total_ms(0.5),
        "total_p95_ms": figures.total_ms(0.95),
    }


# --- One by one -----------------------------------------------------------------------------------


@example(
    {
        "id": 20817,
        "ended_at": "2026-11-22T12:30:00Z",
        "request_id": "f8390800d7595ae31c4fb48df4bfd531",
        "route": "v1/chat/<str:chat_invokable>",
        "status": 504,
        "ending": "failed",
        "outcome": "upstream_timeout",
        "hop": "model_server",
        "reason": "mixtral-a did not answer.",
        "feature": "duo_chat",
        "deployment": "mixtral-a",
        "attempts": 2,
        "prompt": "general 1.0.0",
        "prompt_digest": "22daa01b78273474",
        "configuration": "fca50ae9303ef9cbb79cdcf8070a4e6c",
        "user_hash": "4944b0a6a430f893",
        "input_tokens": 412,
        "output_tokens": 0,
        "queued_ms": 3,
        "first_token_ms": None,
        "total_ms": 30004,
    }
)
class LoggedRequestSerializer(serializers.ModelSerializer[LoggedRequest]):
    """One request. Nothing of what was asked or answered is stored."""

    ending = serializers.ChoiceField(choices=list(Ending))

    class Meta:
        model = LoggedRequest
        fields: ClassVar = (
            *("id", "ended_at", "request_id", "route", "status", "ending", "outcome", "hop"),
            *("reason", "feature", "deployment", "attempts", "prompt", "prompt_digest"),
            *("configuration", "user_hash", "input_tokens", "output_tokens"),
            *("queued_ms", "first_token_ms", "total_ms"),
        )


@extend_schema_view(
    list=extend_schema(summary="List requests, newest first"),
    retrieve=extend_schema(summary="Show a request"),
)
class RequestLogs(ListModelMixin, RetrieveModelMixin, RestView):
    """Requests one by one, as long as they are kept."""

    queryset = LoggedRequest.objects.all()
    serializer_class = LoggedRequestSerializer
    filterset_class = LoggedRequestFilter
    ordering_fields = ("id",)
    ordering = ("-id",)
    required_scopes: ClassVar = {"list": Scope.READ_USAGE, "retrieve": Scope.READ_USAGE}
