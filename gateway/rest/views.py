"""What all resources have in common: request ids, limits told in headers, who changes what."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from django.utils.http import parse_etags
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.viewsets import GenericViewSet

from gateway.audit import Attribution, Origin, attribution_of_request
from gateway.configuration.guards import (
    Row,
    check_not_managed_by_file,
    check_unchanged,
    version_of,
)
from gateway.exchange import sent_request_id
from gateway.rest.clients import client_of
from gateway.rest.permissions import IsAuthenticated
from gateway.rest.problems import PreconditionMissing
from gateway.rest.scopes import Scope
from gateway.rest.throttling import ClientThrottle

log = structlog.get_logger(__name__)

IF_MATCH = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    required=True,
    description="The ETag of what you looked at; * overwrites whatever there is.",
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!-~]{1,128}$"},
    OpenApiParameter.HEADER,
    description="The same key gets the same answer for 24 hours, and does nothing again.",
)
REASON = OpenApiParameter(
    "X-Change-Reason",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="Kept in the history; at most 500 characters.",
)
#: Of what is counted; more than a database holds is asked for in vain.
MAX_NUMBER = 2**63 - 1
NUMBER = OpenApiParameter(
    "number",
    {"type": "integer", "minimum": 1, "maximum": MAX_NUMBER},
    OpenApiParameter.PATH,
)


class OverrideQuery(serializers.Serializer[Any]):
    """Whether a change is wanted although a configuration file manages the row."""

    override_file = serializers.BooleanField(
        default=False,
        help_text="Change it although a configuration file manages it; applying the file again "
        "takes the change back.",
    )


class RestView(GenericViewSet[Any]):
    """Base of all resources.

    Attributes:
        required_scopes: By action; what is not there is refused.
    """

    required_scopes: ClassVar[Mapping[str, Scope]] = {}
    request_id = ""
    started_at = 0.0
    client_name = ""

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        self.started_at = time.monotonic()
        self.request_id = sent_request_id(request.headers) or secrets.token_hex(16)
        return super().initialize_request(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> None:
        super().perform_authentication(request)
        if request.user:
            self.client_name = client_of(request).name

    def get_throttles(self) -> list[BaseThrottle]:
        self._throttles = super().get_throttles()
        return self._throttles

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["X-Request-ID"] = self.request_id
        response["Cache-Control"] = "no-store"
        for throttle in getattr(self, "_throttles", []):
            if isinstance(throttle, ClientThrottle):
                for name, value in throttle.headers().items():
                    response[name] = value
        self._log_finished(request, response)
        return response

    def _log_finished(self, request: Request, response: Any) -> None:
        status = response.status_code
        write = log.warning if status >= 500 else log.info
        if status == HTTPStatus.NOT_MODIFIED:
            write = log.debug  # every worker of every gateway node, every two seconds
        write(
            "rest.finished",
            request_id=self.request_id,
            method=request.method,
            route=request.resolver_match.route if request.resolver_match else "",
            status=status,
            client=self.client_name,
            total_ms=round((time.monotonic() - self.started_at) * 1000, 2),
        )

    def attribution(self, reason: str = "") -> Attribution:
        """Return what the history says of this request."""
        why = reason or self.request.headers.get("X-Change-Reason", "")
        by = attribution_of_request(self.request, Origin.REST, why)
        return replace(by, request_id=self.request_id)

    def seen_versions(self) -> list[str]:
        """Return what If-Match names; `*` stands for whatever there is.

        Raises:
            PreconditionMissing: It was not sent.
        """
        sent = self.request.headers.get("If-Match")
        if sent is None:
            raise PreconditionMissing
        return [tag.removeprefix("W/").strip('"') for tag in parse_etags(sent)]

    def check_may_change(self, row: Row) -> None:
        """Pass if the row is what the client saw, and the client's to change.

        Raises:
            PreconditionMissing: It did not say what it saw.
            ChangeConflict: It saw something else.
            ManagedByFile: A file manages the row and that is not overridden.
        """
        seen = self.seen_versions()
        version = version_of(row)
        if "*" not in seen:
            check_unchanged(row, version if version in seen else ", ".join(seen))
        query = OverrideQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        if not query.validated_data["override_file"]:
            check_not_managed_by_file(row)


class NoSuchPath(RestView):
    """Every path of the API that no resource has."""

    permission_classes = (IsAuthenticated,)
    schema = None

    def answer(self, request: Request, **_: Any) -> Response:
        raise NotFound("There is no such resource: paths end in a slash, see /api/v1/schema/.")


def etag_of(row: Row) -> str:
    return f'"{version_of(row)}"'
