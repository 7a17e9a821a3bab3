"""Errors of the REST API as problem JSON (RFC 9457): one shape, whatever went wrong."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as RowInvalid
from django.db import DatabaseError, IntegrityError
from django.db.models import ProtectedError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from gateway.configuration.errors import DocumentInvalid
from gateway.errors import KNOWN_ERRORS, Dialect, answer_for

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
_RETRY_AFTER = {"Retry-After": "2"}

#: By field, as in `{"endpoints": ["URL 1: …"]}`; what is about no one field has the key "".
FieldErrors = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong.

    Attributes:
        code: Stable word for programs.
        detail: What happened and what to do.
        errors: What is wrong with each field.
    """

    status: int
    code: str
    detail: str
    errors: FieldErrors = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> dict[str, Any]:
        told: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }
        if self.errors:
            told["errors"] = self.errors
        return told

    def answer(self, request_id: str) -> Response:
        body = self.body(request_id)
        return Response(body, self.status, headers=self.headers, content_type=CONTENT_TYPE)


class PreconditionMissing(exceptions.APIException):
    status_code = HTTPStatus.PRECONDITION_REQUIRED
    default_code = "precondition_required"
    default_detail = (
        "Send If-Match with the ETag of what you looked at, so that nobody's change is overwritten "
        "unawares; * overwrites whatever there is."
    )


class KeyReused(exceptions.APIException):
    status_code = HTTPStatus.CONFLICT
    default_code = "idempotency_key_reused"
    default_detail = (
        "This Idempotency-Key was sent with another request before: take a new key for a new one."
    )


def answer_exception(error: Exception, context: Mapping[str, Any]) -> Response:
    """Return the answer for whatever a view raised."""
    request_id = context["view"].request_id
    problem = problem_of(error)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("rest.failed", request_id=request_id, exc_info=error)
    return problem.answer(request_id)


def problem_of(error: Exception) -> Problem:
    """Return `error` as it is told."""
    if isinstance(error, exceptions.ValidationError):
        return _invalid(dict(_flat(error.detail)))
    if isinstance(error, RowInvalid):
        return _invalid(_row_errors(error))
    if isinstance(error, exceptions.APIException):
        return _of_framework(error)
    if isinstance(error, Http404):
        return Problem(404, "not_found", "There is nothing here: check the path and the id.")
    if isinstance(error, KNOWN_ERRORS):
        answer = answer_for(error, Dialect.CODE, "")
        errors = _document_errors(error) if isinstance(error, DocumentInvalid) else {}
        return Problem(answer.status, answer.code, answer.reason, errors, answer.headers)
    if isinstance(error, ProtectedError):
        users = "; ".join(sorted(map(str, error.protected_objects)))
        return Problem(409, "in_use", f"It is in use and was not deleted. {users}.")
    if isinstance(error, IntegrityError):
        return Problem(
            409, "conflict", "Another change was faster. Look at what is there now, then repeat."
        )
    if isinstance(error, DatabaseError):
        log.warning("rest.database_failed", error=type(error).__name__)
        return Problem(
            503,
            "database_unavailable",
            "The database cannot be used now, and nothing was changed: ask again.",
            headers=_RETRY_AFTER,
        )
    return Problem(500, "internal_error", "A bug of ours; the log has it under the request id.")


def _invalid(errors: FieldErrors) -> Problem:
    places = (
        f"{name}: {' '.join(told)}" if name else " ".join(told) for name, told in errors.items()
    )
    return Problem(422, "request_invalid", " ".join(places), errors)


def _of_framework(error: exceptions.APIException) -> Problem:
    headers = {}
    if isinstance(error, exceptions.NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if (wait_s := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(math.ceil(wait_s))
    code = str(getattr(error.detail, "code", error.default_code))
    return Problem(error.status_code, code, str(error.detail), headers=headers)


def _row_errors(error: RowInvalid) -> FieldErrors:
    """Return what a model complains of, by field."""
    if not hasattr(error, "error_dict"):
        return {"": error.messages}
    return {
        "" if name == NON_FIELD_ERRORS else name: [
            message for detail in details for message in detail.messages
        ]
        for name, details in error.error_dict.items()
    }


def _document_errors(error: DocumentInvalid) -> FieldErrors:
    errors: FieldErrors = {}
    for problem in error.problems:
        errors.setdefault(problem.path, []).append(problem.message)
    return errors


def _flat(detail: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the leaves of nested errors, each with its path, as in `settings.0.deployments`."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            step = "" if name == api_settings.NON_FIELD_ERRORS_KEY else str(name)
            yield from _flat(inner, ".".join(filter(None, (path, step))))
    elif isinstance(detail, list) and any(isinstance(item, Mapping | list) for item in detail):
        for position, inner in enumerate(detail):
            yield from _flat(inner, ".".join(filter(None, (path, str(position)))))
    elif detail:
        yield path, [str(item) for item in (detail if isinstance(detail, list) else [detail])]
