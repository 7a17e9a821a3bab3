"""`golden-questions/`, `unanswered-questions/`: what documentation must and did not answer."""

from typing import Any, ClassVar

from django.db import transaction
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from docsearch.models import GoldenQuestion, UnansweredQuestion
from gateway.audit import record
from gateway.rest.examples import example
from gateway.rest.idempotency import idempotent
from gateway.rest.scopes import Scope
from gateway.rest.views import IDEMPOTENCY_KEY, MAX_NUMBER, NUMBER, REASON, RestView

#: At once; a worklist is no longer.
MAX_DEALT_WITH = 200


# --- Golden questions -----------------------------------------------------------------------------


_EXAMPLE = {
    "question": "How do I protect a branch?",
    "page": "user/project/protected_branches.md",
    "anchor": "protect-a-branch",
}


@example({**_EXAMPLE, "id": 3, "created_at": "2026-11-22T12:00:00Z"}, sent=_EXAMPLE)
class GoldenQuestionSerializer(serializers.ModelSerializer[GoldenQuestion]):
    """A question, and the page that must be among its first answers. It is never changed."""

    class Meta:
        model = GoldenQuestion
        fields: ClassVar = ("id", "question", "page", "anchor", "created_at")
        read_only_fields: ClassVar = ("id", "created_at")

    def create(self, validated_data: dict[str, Any]) -> GoldenQuestion:
        """Let the model's own rules judge the row."""
        row = GoldenQuestion(**validated_data)
        row.full_clean()
        row.save()
        return row


@extend_schema_view(
    list=extend_schema(summary="List the golden questions"),
    retrieve=extend_schema(summary="Show a golden question", parameters=[NUMBER]),
)
class GoldenQuestions(ListModelMixin, RetrieveModelMixin, RestView):
    """What this site's documentation search must answer; each index is asked them."""

    queryset = GoldenQuestion.objects.all()
    serializer_class = GoldenQuestionSerializer
    filterset_fields = ("question", "page")
    ordering_fields = ("question", "id")
    ordering = ("question",)
    lookup_url_kwarg = "number"
    required_scopes: ClassVar = {
        "list": Scope.READ_CONFIGURATION,
        "retrieve": Scope.READ_CONFIGURATION,
        "create": Scope.WRITE_CONFIGURATION,
        "destroy": Scope.WRITE_CONFIGURATION,
    }

    @extend_schema(summary="Add a golden question", parameters=[IDEMPOTENCY_KEY, REASON])
    @idempotent
    def create(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        with transaction.atomic():
            row = serializer.save()
            record(self.attribution(), "golden_question.added", object_name=row.question[:150])
        location = {"Location": f"{request.path}{row.pk}/"}
        return Response(serializer.data, status=201, headers=location)

    @extend_schema(summary="Remove a golden question", parameters=[NUMBER, REASON])
    def destroy(self, request: Request, **_: Any) -> Response:
        row = self.get_object()
        with transaction.atomic():
            row.delete()
            record(self.attribution(), "golden_question.removed", object_name=row.question[:150])
        return Response(status=204)


# --- Unanswered questions -------------------------------------------------------------------------


@example(
    {
        "id": 12,
        "question": "how do i book a meeting room",
        "outcome": "nothing_found",
        "gitlab_version": "17.4.0",
        "times": 5,
        "first_asked_at": "2026-11-20T09:00:00Z",
        "last_asked_at": "2026-11-22T12:00:00Z",
    }
)
class UnansweredQuestionSerializer(serializers.ModelSerializer[UnansweredQuestion]):
    """A question, redacted, that no page answered."""

    class Meta:
        model = UnansweredQuestion
        fields: ClassVar = (
            *("id", "question", "outcome", "gitlab_version", "times"),
            *("first_asked_at", "last_asked_at"),
        )


@example(sent={"questions": [12, 15]})
class DealWithSerializer(serializers.Serializer[Any]):
    """Which questions are done with."""

    questions = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MAX_NUMBER),
        min_length=1,
        max_length=MAX_DEALT_WITH,
        help_text="Their ids.",
    )


@example({"count": 2})
class DealtWithSerializer(serializers.Serializer[Any]):
    """What came of it."""

    count = serializers.IntegerField(help_text="How many were on the worklist until now.")


@extend_schema_view(list=extend_schema(summary="List what nobody has dealt with, newest first"))
class UnansweredQuestions(ListModelMixin, RestView):
    """The worklist of whoever writes documentation."""

    queryset = UnansweredQuestion.objects.open()
    serializer_class = UnansweredQuestionSerializer
    filterset_fields = ("outcome", "gitlab_version")
    ordering_fields = ("id", "times", "last_asked_at")
    ordering = ("-id",)
    required_scopes: ClassVar = {
        "list": Scope.READ_CONFIGURATION,
        "deal_with": Scope.WRITE_CONFIGURATION,
    }

    @extend_schema(
        summary="Take questions off the worklist; asked again, they do not come back",
        request=DealWithSerializer,
        responses=DealtWithSerializer,
        parameters=[IDEMPOTENCY_KEY],
    )
    @idempotent
    def deal_with(self, request: Request) -> Response:
        chosen = DealWithSerializer(data=request.data)
        chosen.is_valid(raise_exception=True)
        rows = UnansweredQuestion.objects.filter(pk__in=chosen.validated_data["questions"])
        return Response({"count": rows.deal_with()})
