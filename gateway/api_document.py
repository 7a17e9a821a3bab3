"""What the OpenAPI document says beside the schemas of bodies: errors, headers, streams, tokens.

Nothing here runs while a request is served: views return whole responses, which Ninja passes on.
Statuses and headers of errors are not written down here: `gateway.errors` is asked for them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ninja.operation import Operation
from ninja.utils import contribute_operation_callback
from pydantic.json_schema import models_json_schema

from feature_config.catalogue import Feature
from feature_config.errors import DeploymentMissing, FeatureInactive
from gateway.errors import (
    BodyTimeout,
    BodyTooLarge,
    Dialect,
    KeysUnavailable,
    KnownError,
    RefusalsExceeded,
    RequestInvalid,
    RequestMalformed,
    ScopeDenied,
    TokenRefused,
    answer_for,
)
from gateway.inbound.handler import PUBLIC_PATHS
from gateway.model_metadata import DialectUnsupported
from gateway.routing.errors import (
    CircuitOpen,
    DeadlinePassed,
    DeploymentBusy,
    QuotaExceeded,
    ServerStopping,
    WorkerBusy,
)
from gateway.schemas.errors import OpenAIProblem, Problem, TokenProblem
from prompts.errors import (
    ContextTooLong,
    InputInvalid,
    InputMissing,
    OutputInvalid,
    PromptMissing,
    VersionConstraintInvalid,
    VersionUnsatisfied,
)
from selfhosted_models.errors import (
    EndpointRefused,
    SecretUnavailable,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)

View = TypeVar("View", bound=Callable[..., Any])

# One of each error, by what raises it.
_READING = (ServerStopping(), BodyTooLarge(""), BodyTimeout(""))
_TOKEN = (
    TokenRefused(""),
    RefusalsExceeded(""),
    KeysUnavailable(""),
    QuotaExceeded("", retry_after_s=1),
    WorkerBusy(),
)
_PARSING = (RequestMalformed(""), RequestInvalid(""), RequestInvalid("", code="json_invalid"))
#: `gateway.gates.decide`.
GATES: tuple[KnownError, ...] = (
    ScopeDenied(""),
    FeatureInactive(Feature.DUO_CHAT),
    DeploymentMissing(""),
    PromptMissing("", ()),
    VersionConstraintInvalid(""),
    VersionUnsatisfied("", "", ("", ""), ()),
    RequestInvalid("", code="model_not_registered"),
    DialectUnsupported(""),
)
#: Asking a model: the prompt filled in, the request sent, the answer read.
ASKING: tuple[KnownError, ...] = (
    InputMissing(()),
    InputInvalid("", ""),
    ContextTooLong(0, 0),
    SecretUnavailable(""),
    EndpointRefused(""),
    DeadlinePassed(),
    DeploymentBusy("", 1, ""),
    CircuitOpen("", 1),
    UpstreamUnreachable(""),
    UpstreamTimeout(""),
    UpstreamRejected("", status=500),
    UpstreamRejected("", status=503),
    UpstreamProtocolError(""),
    UpstreamTruncated(""),
    OutputInvalid(""),
)

Stream = tuple[str, dict[str, Any]]  # media type, and the schema of what it carries

RAW_STREAM: Stream = (
    "text/event-stream",
    {"type": "string", "description": "The pieces of text, one after another: no events."},
)
SSE_STREAM: Stream = (
    "text/event-stream",
    {
        "type": "object",
        "description": "One server-sent event; its data is JSON, or `[DONE]`.",
        "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
        "required": ["data"],
    },
)
NDJSON_STREAM: Stream = (
    "application/x-ndjson",
    {"type": "object", "description": "One event a line, one line an HTTP chunk."},
)

_REF = "#/components/schemas/{model}"
_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_HEADERS = {
    "X-Request-ID": "The caller's own if it is 1 to 128 letters, digits, dots, dashes or "
    "underscores, else a new one; it is in the log.",
    "X-Process-Time": "Seconds until the answer began.",
    "X-Gitlab-Duo-Configuration": "The version of the configuration it was served from.",
    "X-Gitlab-Duo-Deployment": "The deployment that answered, or was asked last.",
    "X-Gitlab-Duo-Failed-Attempts": "Those that were asked before it in vain, and why.",
    "X-Gitlab-Duo-Prompt-Digest": "The version of the prompt that was asked.",
    "Retry-After": "Seconds after which the same request may succeed.",
    "x-should-retry": "`false`: the same request will fail again.",
    "WWW-Authenticate": "How to authenticate.",
}
_ON_EVERY_ANSWER = ("X-Request-ID", "X-Process-Time")
_WHO_ANSWERED = (
    "X-Gitlab-Duo-Configuration",
    "X-Gitlab-Duo-Deployment",
    "X-Gitlab-Duo-Failed-Attempts",
    "X-Gitlab-Duo-Prompt-Digest",
)
_READ_EVERYWHERE = {
    "X-Request-ID": "Names this request in the answer and in the logs.",
    "X-Request-Deadline-Ms": "Milliseconds the caller waits for the first of the answer.",
}
#: Those that must agree with the token's claims, where it has them.
_TOKEN_HEADERS = {
    "X-Gitlab-Instance-Id": "Equals the claim `gitlab_instance_id`.",
    "X-Gitlab-Realm": "Equals the claim `gitlab_realm`.",
    "X-Gitlab-Global-User-Id": "Equals the claim `sub` of a token this gateway issued.",
}


def describes(
    *errors: KnownError,
    stream: Stream | None = None,
    headers: Mapping[str, str] | None = None,
    required: Iterable[str] = (),
) -> Callable[[View], View]:
    """Say in the document what a view answers beside its `response`.

    Args:
        errors: One of each kind it raises, beside those of every request.
        stream: What status 200 streams.
        headers: Request headers it reads, with their meaning.
        required: Those without which it refuses.
    """

    def contribute(operation: Operation) -> None:
        is_public = operation.path in PUBLIC_PATHS
        dialect = Dialect.of_path(operation.path)
        proof = [_TOKEN_ALONE if dialect is Dialect.OPENAI else _TOKEN_OF_GITLAB]
        has_body = any(model.__ninja_param_source__ == "body" for model in operation.models)
        before = [*_READING, *(() if is_public else _TOKEN), *(_PARSING if has_body else ())]
        responses = _error_responses([*before, *errors], dialect)
        if 200 in operation.response_models:
            told = (*_ON_EVERY_ANSWER, *(_WHO_ANSWERED if set(ASKING) & set(errors) else ()))
            responses[200] = {"headers": _header_refs(told)}
            if stream is not None:
                media_type, schema = stream
                responses[200]["content"] = {media_type: {"schema": schema}}
        read = {**_READ_EVERYWHERE, **({} if is_public else _TOKEN_HEADERS), **(headers or {})}
        parameters = [_parameter(name, text, name in required) for name, text in read.items()]
        operation.openapi_extra = {
            "responses": responses,
            "parameters": parameters,
            "security": [] if is_public else proof,
        }

    def decorate(view: View) -> View:
        contribute_operation_callback(view, contribute)
        return view

    return decorate


#: What proves who calls: OpenAI clients can be given a key, and nothing else.
_TOKEN_ALONE: dict[str, list[str]] = {"token": []}
_TOKEN_OF_GITLAB: dict[str, list[str]] = {"token": [], "token_type": []}


def _error_responses(errors: Iterable[KnownError], dialect: Dialect) -> dict[int, dict[str, Any]]:
    responses: dict[int, dict[str, Any]] = {
        500: {"description": "internal_error: a bug; the log has it", "content": _TEXT},
        431: {"description": "The request's headers are too large.", "content": _TEXT},
    }
    codes: dict[int, list[str]] = {}
    for error in errors:
        answer = answer_for(error, dialect, "")
        response = responses.setdefault(int(answer.status), {"headers": {}})
        response["headers"] |= _header_refs([*_ON_EVERY_ANSWER, *answer.headers])
        response["content"] = {"application/json": {"schema": _schema_of(answer.status, dialect)}}
        codes.setdefault(int(answer.status), []).append(answer.code)
    for status, told in codes.items():
        responses[status]["description"] = ", ".join(dict.fromkeys(told))
    return dict(sorted(responses.items()))


def _schema_of(status: int, dialect: Dialect) -> dict[str, str]:
    if dialect is Dialect.OPENAI:
        return {"$ref": _REF.format(model=OpenAIProblem.__name__)}
    model = TokenProblem if status == 401 else Problem
    return {"$ref": _REF.format(model=model.__name__)}


def _header_refs(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _parameter(name: str, description: str, is_required: bool) -> dict[str, Any]:
    return {
        "in": "header",
        "name": name,
        "description": description,
        "required": is_required,
        "schema": {"type": "string"},
    }


def shared_components() -> dict[str, dict[str, Any]]:
    """Return what the descriptions refer to."""
    models = [(model, "validation") for model in (Problem, TokenProblem, OpenAIProblem)]
    _, schemas = models_json_schema(models, ref_template=_REF)  # type: ignore[arg-type]
    return {
        "schemas": schemas["$defs"],
        "headers": {
            name: {
                "description": text,
                "required": name in _ON_EVERY_ANSWER,
                "schema": {"type": "string"},
            }
            for name, text in _HEADERS.items()
        },
        "securitySchemes": {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "Signed by a trusted GitLab instance, or issued by this gateway.",
            },
            "token_type": {
                "type": "apiKey",
                "in": "header",
                "name": "X-Gitlab-Authentication-Type",
                "description": "Always `oidc`.",
            },
        },
    }
