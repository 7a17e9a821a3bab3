"""Errors of the gateway itself, and the one table that gives every error its status.

Three dialects are spoken: the AI Gateway's own (`detail`, or `error` on 401), the same with 421 for
a failed model server (prompts), and OpenAI's envelope. Members `code`, `request_id` and, where the
contract's text says nothing, `message` stand beside what the wire contract fixes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from http import HTTPStatus
from typing import Any

from feature_config.errors import DeploymentMissing, FeatureError, FeatureInactive, FeatureUnknown
from gateway.configuration.errors import (
    ChangeConflict,
    ConfigurationError,
    DeploymentInUse,
    DocumentInvalid,
    HistoryBusy,
    KeyUnreadable,
    ManagedByFile,
    RevisionUnknown,
)
from gateway.evaluation.errors import EvaluationConflict, EvaluationRefused
from gateway.routing.errors import (
    CircuitOpen,
    DeadlinePassed,
    DeploymentBusy,
    QuotaExceeded,
    ServerStopping,
    WorkerBusy,
)
from prompts.errors import ContextTooLong, OutputInvalid, PromptError, PromptMissing
from selfhosted_models.errors import (
    DeploymentError,
    EndpointRefused,
    SecretUnavailable,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnreachable,
)


class GatewayError(Exception):
    """Base of the gateway's errors; raise a leaf. `detail` is what the wire contract fixes."""

    code = "gateway_error"
    retryable = False
    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, detail: str | list[dict[str, Any]], *, code: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code

    @property
    def safe_message(self) -> str:
        if isinstance(self.detail, str):
            return self.detail
        places = (".".join(map(str, item["loc"])) + ": " + item["msg"] for item in self.detail)
        return "; ".join(places)


class TokenRefused(GatewayError):
    code = "token_refused"
    status = HTTPStatus.UNAUTHORIZED


class RefusalsExceeded(GatewayError):
    """Too many bad tokens came from one address to look at another."""

    code = "refusals_exceeded"
    retryable = True
    status = HTTPStatus.TOO_MANY_REQUESTS


class KeysUnavailable(GatewayError):
    """No key of a trusted issuer could be fetched yet."""

    code = "keys_unavailable"
    retryable = True
    status = HTTPStatus.SERVICE_UNAVAILABLE


class ScopeDenied(GatewayError):
    code = "scope_denied"
    status = HTTPStatus.FORBIDDEN


class HeaderMissing(GatewayError):
    code = "header_missing"
    status = HTTPStatus.BAD_REQUEST


class RequestMalformed(GatewayError):
    """Over a limit on shape that no schema expresses."""

    code = "request_malformed"
    status = HTTPStatus.BAD_REQUEST


class RequestInvalid(GatewayError):
    code = "request_invalid"
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class BodyTooLarge(GatewayError):
    code = "body_too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class BodyTimeout(GatewayError):
    code = "body_timeout"
    status = HTTPStatus.REQUEST_TIMEOUT


class NotReady(GatewayError):
    code = "not_ready"
    retryable = True
    status = HTTPStatus.SERVICE_UNAVAILABLE


class NoDatabase(GatewayError):
    """A page or the REST API was asked of a gateway node that has no database."""

    code = "no_database"
    status = HTTPStatus.NOT_FOUND


class PathUnknown(GatewayError):
    code = "not_found"
    status = HTTPStatus.NOT_FOUND


class MethodUnknown(GatewayError):
    code = "method_not_allowed"
    status = HTTPStatus.METHOD_NOT_ALLOWED


#: What this project's code raises on purpose; anything else is a bug and answered as such.
KNOWN_ERRORS = (
    *(GatewayError, FeatureError, PromptError, DeploymentError, ConfigurationError),
    EvaluationRefused,
)
KnownError = (
    GatewayError
    | FeatureError
    | PromptError
    | DeploymentError
    | ConfigurationError
    | EvaluationRefused
)


class Hop(StrEnum):
    """Where on its way a request came to grief."""

    CALLER = "caller"  # what was asked, or by whom: no other answer was possible
    GATEWAY = "gateway"  # too busy, stopping, or not configured to answer
    MODEL_SERVER = "model_server"


class Dialect(Enum):
    """How errors are told; chosen by path."""

    CODE = "code"
    PROMPTS = "prompts"
    OPENAI = "openai"

    @classmethod
    def of_path(cls, path: str) -> "Dialect":
        if path.startswith("/openai/"):
            return cls.OPENAI
        return cls.PROMPTS if path.startswith("/v1/prompts/") else cls.CODE


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error as it leaves: status, JSON body, headers. The code and the reason go to the log."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str = "internal_error"
    reason: str = ""


#: Statuses of errors raised below the gateway, found along the MRO.
_STATUS: dict[type[BaseException], int] = {
    FeatureUnknown: 404,
    FeatureInactive: 403,
    DeploymentMissing: 503,
    PromptMissing: 404,
    ContextTooLong: 413,
    PromptError: 422,
    SecretUnavailable: 503,
    DeploymentBusy: 503,
    CircuitOpen: 503,
    WorkerBusy: 503,
    ServerStopping: 503,
    QuotaExceeded: 429,
    DeadlinePassed: 504,
    EndpointRefused: 503,
    DocumentInvalid: 422,
    KeyUnreadable: 422,
    RevisionUnknown: 404,
    ChangeConflict: 412,
    ManagedByFile: 409,
    DeploymentInUse: 409,
    HistoryBusy: 503,
    EvaluationConflict: 409,
    EvaluationRefused: 422,
}

_RETRY_AFTER_S = 2
#: Said to OpenAI clients in so many words, as for every server error that will not pass.
_NEVER_RETRIED = {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}


def answer_for(error: KnownError, dialect: Dialect, request_id: str) -> ErrorAnswer:
    """Return how `error` is told in `dialect`."""
    marks = {"code": error.code, "request_id": request_id}
    headers = _headers(error)
    if dialect is Dialect.OPENAI:
        status = _openai_status(error)
        body: dict[str, Any] = {"error": _openai_envelope(error, status) | marks}
        if (status in _NEVER_RETRIED or status >= 500) and not headers:
            headers["x-should-retry"] = "false"  # the openai client would try twice more
    elif isinstance(error, GatewayError):
        status = error.status
        member = "error" if status == HTTPStatus.UNAUTHORIZED else "detail"
        body = {member: error.detail, **marks}
    elif isinstance(error, UpstreamError) and dialect is Dialect.PROMPTS:
        status, headers = 421, {}
        body = {"detail": _model_server_detail(error), **marks, "message": error.safe_message}
    elif isinstance(error, UpstreamError):
        status = 503
        body = {"detail": "Inference failed", **marks, "message": error.safe_message}
    elif isinstance(error, DeploymentError) and dialect is Dialect.PROMPTS:
        status = _status_below(error)
        # Rails shows an admin who tests a connection the first item's text.
        item = {"type": error.code, "loc": ["body"], "msg": error.safe_message, "input": ""}
        body = {"detail": [item], **marks}
    else:
        status = _status_below(error)
        body = {"detail": error.safe_message, **marks}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    return ErrorAnswer(status, body, headers, error.code, error.safe_message)


def hop_of(error: KnownError) -> Hop:
    """Return where `error` came about."""
    if isinstance(error, UpstreamError | CircuitOpen):
        return Hop.MODEL_SERVER
    status = error.status if isinstance(error, GatewayError) else _status_below(error)
    return Hop.CALLER if status < HTTPStatus.INTERNAL_SERVER_ERROR else Hop.GATEWAY


def _headers(error: KnownError) -> dict[str, str]:
    """Tell the caller when to come again, if that may help."""
    if isinstance(error, UpstreamRejected) and error.status in {429, 503}:
        return {"Retry-After": str(error.retry_after_s or _RETRY_AFTER_S)}
    if isinstance(error, DeploymentBusy | CircuitOpen | QuotaExceeded):
        return {"Retry-After": str(error.retry_after_s)}
    return {"Retry-After": str(_RETRY_AFTER_S)} if error.retryable else {}


def _openai_envelope(error: KnownError, status: int) -> dict[str, Any]:
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"message": error.safe_message, "type": kind, "param": _param(error)}


def _param(error: KnownError) -> str | None:
    """Return the member of the body that is wrong, where one is."""
    if not isinstance(error, RequestInvalid) or isinstance(error.detail, str):
        return None
    return ".".join(map(str, error.detail[0]["loc"][1:])) or None


def _status_below(error: KnownError) -> int:
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def _model_server_detail(error: UpstreamError) -> str:
    """Return `<code>: <phrase>`, which Rails shows to the admin who tests a connection."""
    status = 500
    if isinstance(error, UpstreamTimeout):
        status = 408
    elif isinstance(error, OutputInvalid):
        status = 502
    elif isinstance(error, UpstreamRejected):
        status = {422: 400}.get(error.status, error.status)
    try:
        return f"{status}: {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status}: Unknown"


def _openai_status(error: KnownError) -> int:
    """Source: `docs/architecture.md`, errors; the statuses OpenAI clients act on."""
    if isinstance(error, GatewayError):
        # OpenAI's API has no 422 for a body it cannot use.
        return 400 if error.status == HTTPStatus.UNPROCESSABLE_ENTITY else error.status
    if isinstance(error, UpstreamTimeout):
        return 504
    if isinstance(error, UpstreamUnreachable):
        return 503
    if isinstance(error, UpstreamRejected):
        return 503 if error.status in {429, 503} else 502
    if isinstance(error, UpstreamError):
        return 502
    status = _status_below(error)
    return 400 if status == 422 else status
