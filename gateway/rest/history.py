"""`revisions/` and `audit/`: what was configured, and who did what."""

from typing import Any, ClassVar

from django.db import transaction
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.audit import HEAD, verify
from gateway.configuration.applying import rehearse_restore, restore_document
from gateway.configuration.history import (
    check_newest,
    newest_number,
    revision_of,
    stored_data,
)
from gateway.configuration.parsing import document_of
from gateway.configuration.planning import difference
from gateway.models import AuditRecord, Revision
from gateway.rest.changes import (
    DifferenceSerializer,
    OutcomeSerializer,
    difference_of,
    outcome_of,
)
from gateway.rest.examples import example
from gateway.rest.idempotency import idempotent
from gateway.rest.scopes import Scope
from gateway.rest.views import IDEMPOTENCY_KEY, MAX_NUMBER, NUMBER, RestView

_EXAMPLE = {
    "number": 42,
    "digest": "57c2ffd4febee1402a05bfcb20561fc2",
    "author": "dana",
    "origin": "web",
    "reason": "A second GPU for the chat.",
    "created_at": "2026-11-22T12:30:00Z",
}


@example(_EXAMPLE)
class RevisionSerializer(serializers.ModelSerializer[Revision]):
    """A revision, without its document."""

    class Meta:
        model = Revision
        fields: ClassVar[tuple[str, ...]] = (
            "number",
            "digest",
            "author",
            "origin",
            "reason",
            "created_at",
        )


@example(
    {
        **_EXAMPLE,
        "document": {
            "version": 1,
            "deployments": [
                {
                    "name": "mixtral-a",
                    "family": "mixtral-8x7b-instruct",
                    "serving_format": "openai_chat",
                    "endpoints": ["http://10.0.4.11:8000/v1"],
                    "model_identifier": "mixtral-8x7b",
                    "api_key": {"stored": "fae0ae5979785f4b"},
                }
            ],
            "features": {"duo_chat": "mixtral-a"},
        },
    }
)
class WholeRevisionSerializer(RevisionSerializer):
    """A revision with the whole configuration."""

    document = serializers.DictField(help_text="docs/configuration.md says what it holds.")

    class Meta(RevisionSerializer.Meta):
        fields: ClassVar[tuple[str, ...]] = (*RevisionSerializer.Meta.fields, "document")


@example(sent={"preview": True, "reason": "The chat got slow."})
class RestoreSerializer(serializers.Serializer[Any]):
    """How to go back."""

    preview = serializers.BooleanField(default=False, help_text="Only tell what would change.")
    reason = serializers.CharField(
        default="", allow_blank=True, max_length=500, help_text="Kept in the history."
    )


_SEEN_NEWEST = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The ETag of the preview: the number of the newest revision, in quotes; * goes "
    "back whatever was changed since. Needed unless it is a preview.",
)


class DifferenceQuery(serializers.Serializer[Any]):
    to = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_NUMBER,
        help_text="The other revision; left out: what is stored now.",
    )


@extend_schema_view(list=extend_schema(summary="List the revisions, newest first"))
class Revisions(ListModelMixin, RestView):
    """Every configuration there was."""

    queryset = Revision.objects.all()
    serializer_class = RevisionSerializer
    filterset_fields = ("origin", "author", "digest")
    ordering_fields = ("number",)
    ordering = ("-number",)
    lookup_field = "number"
    required_scopes: ClassVar = {
        "list": Scope.READ_CONFIGURATION,
        "retrieve": Scope.READ_CONFIGURATION,
        "diff": Scope.READ_CONFIGURATION,
        "restore": Scope.WRITE_CONFIGURATION,
    }

    @extend_schema(
        summary="Show a revision with its document",
        responses=WholeRevisionSerializer,
        parameters=[NUMBER],
    )
    def retrieve(self, request: Request, number: int) -> Response:
        return Response(WholeRevisionSerializer(revision_of(number)).data)

    @extend_schema(
        summary="Tell what leads from a revision to another, or to what is stored now",
        responses=DifferenceSerializer,
        parameters=[NUMBER, DifferenceQuery],
        filters=False,
    )
    def diff(self, request: Request, number: int) -> Response:
        query = DifferenceQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        other = query.validated_data.get("to")
        after = stored_data() if other is None else revision_of(other).document
        return Response(difference_of(difference(revision_of(number).document, after)))

    @extend_schema(
        summary="Make the whole configuration what it was, as a new revision",
        request=RestoreSerializer,
        responses=OutcomeSerializer,
        parameters=[NUMBER, _SEEN_NEWEST, IDEMPOTENCY_KEY],
    )
    @idempotent
    def restore(self, request: Request, number: int) -> Response:
        wanted = RestoreSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        document = document_of(revision_of(number).document)
        by = self.attribution(wanted.validated_data["reason"] or f"Restored revision {number}.")
        with transaction.atomic():
            if wanted.validated_data["preview"]:
                outcome = rehearse_restore(document, by)
            else:
                self._check_saw_newest()
                outcome = restore_document(document, by)
            newest = newest_number()
        told = outcome_of(outcome.changes, outcome.revision, outcome.notes)
        return Response(told, headers={"ETag": f'"{newest}"'})

    def _check_saw_newest(self) -> None:
        """Pass if nothing was changed since the client looked at what would be.

        Raises:
            PreconditionMissing: It did not say what it saw.
            ChangeConflict: It saw something else.
        """
        seen = self.seen_versions()
        if "*" not in seen:
            check_newest(seen)


_EXAMPLE_HASH = "57961deeaa3eed59cf348c5bd8c0eab522bbdb605ff495b88a85986ee460d7e1"


@example(
    {
        "number": 1280,
        "created_at": "2026-11-22T12:30:00Z",
        "author": "dana",
        "origin": "web",
        "reason": "A second GPU for the chat.",
        "source_address": "10.0.4.2",
        "request_id": "f8390800d7595ae31c4fb48df4bfd531",
        "action": "feature.changed",
        "object_id": "duo_chat",
        "object_name": "duo_chat",
        "changes": {"answered_by": ["unassigned", ["mixtral-a", "mixtral-b"]]},
        "revision": 42,
        "previous_hash": "c1ed74749592b9a4bf48c982d728ebbd5e59d24915817777b35772c85ef74d78",
        "hash": _EXAMPLE_HASH,
    }
)
class AuditRecordSerializer(serializers.ModelSerializer[AuditRecord]):
    """One thing that was done."""

    revision = serializers.IntegerField(source="revision_id", allow_null=True)
    changes = serializers.DictField(
        child=serializers.ListField(min_length=2, max_length=2),
        help_text="By field: the old value and the new; secrets as fingerprints.",
    )

    class Meta:
        model = AuditRecord
        fields: ClassVar = (
            *("number", "created_at", "author", "origin", "reason", "source_address"),
            *("request_id", "action", "object_id", "object_name", "changes", "revision"),
            *("previous_hash", "hash"),
        )


class VerificationQuery(serializers.Serializer[Any]):
    head = serializers.RegexField(
        HEAD,
        default="",
        allow_blank=True,
        help_text="NUMBER:HASH as an earlier answer had it: that record must still be there.",
    )


@example({"records": 1280, "revisions": 42, "head": f"1280:{_EXAMPLE_HASH}", "problems": []})
class VerificationSerializer(serializers.Serializer[Any]):
    """What a look through the whole history found."""

    records = serializers.IntegerField()
    revisions = serializers.IntegerField()
    head = serializers.CharField(
        help_text="NUMBER:HASH of the newest record. Kept elsewhere, it proves later that nothing "
        "up to it was rewritten or cut off."
    )
    problems = serializers.ListField(
        child=serializers.CharField(), help_text="Oldest first; empty if nothing is wrong."
    )


@extend_schema_view(
    list=extend_schema(summary="List the audit trail, newest first"),
    retrieve=extend_schema(summary="Show a record", parameters=[NUMBER]),
)
class Audit(ListModelMixin, RetrieveModelMixin, RestView):
    """Who did what, when and from where."""

    queryset = AuditRecord.objects.all()
    serializer_class = AuditRecordSerializer
    filterset_fields: ClassVar = {
        "action": ["exact"],
        "author": ["exact"],
        "origin": ["exact"],
        "object_id": ["exact"],
        "object_name": ["exact"],
        "request_id": ["exact"],
        "created_at": ["gte", "lt"],
    }
    ordering_fields = ("number",)
    ordering = ("-number",)
    lookup_field = "number"
    required_scopes: ClassVar = dict.fromkeys(("list", "retrieve", "verify"), Scope.READ_AUDIT)

    @extend_schema(
        summary="Look through the whole history, whether anything was rewritten or cut off",
        responses=VerificationSerializer,
        parameters=[VerificationQuery],
        filters=False,
    )
    def verify(self, request: Request) -> Response:
        query = VerificationQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        return Response(VerificationSerializer(verify(query.validated_data["head"])).data)
