"""One table: every error, in every dialect."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest

from feature_config.catalogue import Feature
from feature_config.errors import DeploymentMissing, FeatureError, FeatureInactive, FeatureUnknown
from gateway import errors
from gateway.errors import Dialect, ErrorAnswer, GatewayError, KnownError, answer_for
from gateway.model_metadata import DialectUnsupported
from gateway.routing.errors import (
    CircuitOpen,
    DeadlinePassed,
    DeploymentBusy,
    QuotaExceeded,
    ServerStopping,
    WorkerBusy,
)
from prompts.errors import (
    ContextTooLong,
    InputInvalid,
    InputMissing,
    OutputInvalid,
    PromptError,
    PromptMissing,
    VersionConstraintInvalid,
    VersionUnsatisfied,
)
from selfhosted_models import errors as deployment_errors
from selfhosted_models.errors import DeploymentError, UpstreamRejected

AGAIN = {"Retry-After": "2"}
LATER = {"Retry-After": "5"}
NEVER = {"x-should-retry": "false"}
TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
NONE: dict[str, str] = {}

Told = tuple[int, dict[str, str]]

#: Error, then status and headers as the code paths, the prompts' and OpenAI's tell it.
TABLE: list[tuple[KnownError, Told, Told, Told]] = [
    (errors.TokenRefused("no"), (401, TOKEN), (401, TOKEN), (401, TOKEN)),
    (errors.RefusalsExceeded("wait"), (429, AGAIN), (429, AGAIN), (429, AGAIN)),
    (errors.KeysUnavailable("wait"), (503, AGAIN), (503, AGAIN), (503, AGAIN)),
    (errors.ScopeDenied("no"), (403, NONE), (403, NONE), (403, NEVER)),
    (errors.HeaderMissing("no"), (400, NONE), (400, NONE), (400, NEVER)),
    (errors.RequestMalformed("no"), (400, NONE), (400, NONE), (400, NEVER)),
    (errors.RequestInvalid("no"), (422, NONE), (422, NONE), (400, NEVER)),
    (errors.BodyTooLarge("no"), (413, NONE), (413, NONE), (413, NONE)),
    (errors.BodyTimeout("no"), (408, NONE), (408, NONE), (408, NONE)),
    (errors.NotReady("wait"), (503, AGAIN), (503, AGAIN), (503, AGAIN)),
    (errors.NoDatabase("no"), (404, NONE), (404, NONE), (404, NONE)),
    (errors.PathUnknown("no"), (404, NONE), (404, NONE), (404, NONE)),
    (errors.MethodUnknown("no"), (405, NONE), (405, NONE), (405, NONE)),
    (FeatureUnknown("x", known=["y"]), (404, NONE), (404, NONE), (404, NONE)),
    (FeatureInactive(Feature.DUO_CHAT), (403, NONE), (403, NONE), (403, NEVER)),
    (DeploymentMissing("no"), (503, NONE), (503, NONE), (503, NEVER)),
    (PromptMissing("p", ["v"]), (404, NONE), (404, NONE), (404, NONE)),
    (ContextTooLong(9, 8), (413, NONE), (413, NONE), (413, NONE)),
    (InputMissing(["suffix"]), (422, NONE), (422, NONE), (400, NEVER)),
    (InputInvalid("suffix", "is no text"), (422, NONE), (422, NONE), (400, NEVER)),
    (VersionConstraintInvalid("x"), (422, NONE), (422, NONE), (400, NEVER)),
    (VersionUnsatisfied("p", "v", ("^2", "1"), ["1"]), (422, NONE), (422, NONE), (400, NEVER)),
    (deployment_errors.SecretUnavailable("no"), (503, NONE), (503, NONE), (503, NEVER)),
    (deployment_errors.EndpointRefused("no"), (503, NONE), (503, NONE), (503, NEVER)),
    (deployment_errors.UpstreamUnreachable("no"), (503, AGAIN), (421, NONE), (503, AGAIN)),
    (deployment_errors.UpstreamNameUnknown("no"), (503, AGAIN), (421, NONE), (503, AGAIN)),
    (deployment_errors.UpstreamTlsFailed("no"), (503, AGAIN), (421, NONE), (503, AGAIN)),
    (deployment_errors.UpstreamTimeout("no"), (503, NONE), (421, NONE), (504, NEVER)),
    (deployment_errors.UpstreamProtocolError("no"), (503, NONE), (421, NONE), (502, NEVER)),
    (deployment_errors.UpstreamTruncated("no"), (503, NONE), (421, NONE), (502, NEVER)),
    (DeadlinePassed(), (504, NONE), (504, NONE), (504, NEVER)),
    (DeploymentBusy("gpu1", 4.2, "so"), (503, LATER), (503, LATER), (503, LATER)),
    (CircuitOpen("gpu1", 4.2), (503, LATER), (503, LATER), (503, LATER)),
    (ServerStopping(), (503, AGAIN), (503, AGAIN), (503, AGAIN)),
    (WorkerBusy(), (503, AGAIN), (503, AGAIN), (503, AGAIN)),
    (QuotaExceeded("8 at once", retry_after_s=5), (429, LATER), (429, LATER), (429, LATER)),
    (OutputInvalid("it is empty"), (503, NONE), (421, NONE), (502, NEVER)),
    (DialectUnsupported("no"), (503, NONE), (421, NONE), (502, NEVER)),
    (UpstreamRejected("no", status=401), (503, NONE), (421, NONE), (502, NEVER)),
    (UpstreamRejected("no", status=404), (503, NONE), (421, NONE), (502, NEVER)),
    (UpstreamRejected("no", status=429), (503, AGAIN), (421, NONE), (503, AGAIN)),
    (UpstreamRejected("no", status=500), (503, AGAIN), (421, NONE), (502, AGAIN)),
    (UpstreamRejected("no", status=503), (503, AGAIN), (421, NONE), (503, AGAIN)),
]


def label(value: object) -> str | None:
    if isinstance(value, UpstreamRejected):
        return f"UpstreamRejected-{value.status}"
    return type(value).__name__ if isinstance(value, Exception) else None


def leaves(base: type[Any]) -> Iterator[type[Any]]:
    children = [kind for kind in base.__subclasses__() if kind.__module__.split(".")[0] != "tests"]
    if not children:
        yield base
    for child in children:
        yield from leaves(child)


@pytest.mark.parametrize(("error", "code", "prompts", "openai"), TABLE, ids=label)
def test_error_has_its_status_and_headers(
    error: KnownError, code: Told, prompts: Told, openai: Told
) -> None:
    answers = [answer_for(error, dialect, "req-1") for dialect in Dialect]

    assert [(answer.status, answer.headers) for answer in answers] == [code, prompts, openai]


@pytest.mark.parametrize("base", [GatewayError, FeatureError, PromptError, DeploymentError])
def test_table_leaves_no_error_out(base: type[Exception]) -> None:
    covered = {type(error) for error, *_ in TABLE}

    assert set(leaves(base)) <= covered


@pytest.mark.parametrize("error", [row[0] for row in TABLE], ids=label)
@pytest.mark.parametrize("dialect", [Dialect.CODE, Dialect.PROMPTS])
def test_gateway_body_carries_detail_code_and_request_id(
    error: KnownError, dialect: Dialect
) -> None:
    answer = answer_for(error, dialect, "req-1")

    member = "error" if answer.status == 401 else "detail"
    assert answer.body.keys() - {"message"} == {member, "code", "request_id"}
    assert answer.body[member]
    assert (answer.body["code"], answer.body["request_id"]) == (error.code, "req-1")


@pytest.mark.parametrize("error", [row[0] for row in TABLE], ids=label)
def test_openai_body_is_an_envelope(error: KnownError) -> None:
    answer = answer_for(error, Dialect.OPENAI, "req-1")

    assert answer.body.keys() == {"error"}
    assert answer.body["error"] == {
        "message": error.safe_message,
        "type": answer.body["error"]["type"],
        "param": None,
        "code": error.code,
        "request_id": "req-1",
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (HTTPStatus.UNAUTHORIZED, "authentication_error"),
        (HTTPStatus.FORBIDDEN, "permission_error"),
        (HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_error"),
        (HTTPStatus.NOT_FOUND, "invalid_request_error"),
        (HTTPStatus.SERVICE_UNAVAILABLE, "api_error"),
    ],
)
def test_openai_type_follows_the_status(status: HTTPStatus, kind: str) -> None:
    error = GatewayError("no")
    error.status = status

    assert answer_for(error, Dialect.OPENAI, "").body["error"]["type"] == kind


@pytest.mark.parametrize("retryable", [True, False])
def test_openai_server_error_always_says_whether_to_retry(retryable: bool) -> None:
    for error, *_ in TABLE:
        answer: ErrorAnswer = answer_for(error, Dialect.OPENAI, "")
        if answer.status >= 500 and error.retryable is retryable:
            assert ("Retry-After" in answer.headers) != ("x-should-retry" in answer.headers)


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (400, "400: Bad Request"),
        (401, "401: Unauthorized"),
        (403, "403: Forbidden"),
        (404, "404: Not Found"),
        (408, "408: Request Timeout"),
        (422, "400: Bad Request"),
        (429, "429: Too Many Requests"),
        (500, "500: Internal Server Error"),
        (503, "503: Service Unavailable"),
        (599, "599: Unknown"),
    ],
)
def test_prompts_tell_the_model_servers_status(status: int, detail: str) -> None:
    answer = answer_for(UpstreamRejected("no", status=status), Dialect.PROMPTS, "")

    assert answer.body["detail"] == detail


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (deployment_errors.UpstreamUnreachable("no"), "500: Internal Server Error"),
        (deployment_errors.UpstreamTimeout("no"), "408: Request Timeout"),
        (deployment_errors.UpstreamProtocolError("no"), "500: Internal Server Error"),
        (DialectUnsupported("no"), "500: Internal Server Error"),
    ],
    ids=label,
)
def test_prompts_tell_a_failure_without_a_status_as_one(
    error: DeploymentError, detail: str
) -> None:
    assert answer_for(error, Dialect.PROMPTS, "").body["detail"] == detail


def test_code_paths_tell_every_model_server_failure_alike() -> None:
    answer = answer_for(UpstreamRejected("see its log", status=500), Dialect.CODE, "")

    assert (answer.body["detail"], answer.body["message"]) == ("Inference failed", "see its log")


def test_wait_that_the_model_server_asked_for_is_passed_on() -> None:
    error = UpstreamRejected("no", status=429, retry_after_s=17)

    assert answer_for(error, Dialect.CODE, "").headers == {"Retry-After": "17"}


def test_list_of_details_becomes_one_line_for_openai() -> None:
    items: list[dict[str, Any]] = [
        {"type": "missing", "loc": ["body", "model"], "msg": "Field required"},
        {"type": "missing", "loc": ["body", "messages", 0], "msg": "Field required"},
    ]

    answer = answer_for(errors.RequestInvalid(items), Dialect.OPENAI, "")

    told = "body.model: Field required; body.messages.0: Field required"
    assert answer.body["error"]["message"] == answer.reason == told


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v2/code/completions", Dialect.CODE),
        ("/v1/prompts/chat/explain_code", Dialect.PROMPTS),
        ("/v1/code/user_access_token", Dialect.CODE),
        ("/openai/v1/models", Dialect.OPENAI),
        ("/openai", Dialect.CODE),
        ("/", Dialect.CODE),
    ],
)
def test_dialect_follows_the_path(path: str, dialect: Dialect) -> None:
    assert Dialect.of_path(path) is dialect


@pytest.mark.parametrize(
    ("loc", "param"), [(["body", "messages", 0], "messages.0"), (["body"], None)]
)
def test_openai_is_told_which_member_is_wrong(loc: list[str | int], param: str | None) -> None:
    items: list[dict[str, Any]] = [{"type": "missing", "loc": loc, "msg": "Field required"}]

    answer = answer_for(errors.RequestInvalid(items), Dialect.OPENAI, "")

    assert answer.body["error"]["param"] == param
