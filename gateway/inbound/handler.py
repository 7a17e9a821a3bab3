"""The lean handler of the gateway's paths: no thread hop, no request signals, no middleware list.

Django's own ASGI handler starts and joins a thread for each request (signals, closing database
connections); nothing on these paths touches the database. What a middleware list would hold is
here, in order: request id, CORS, authentication, the view, errors, the log event.
"""

import asyncio
import io
import time
from contextlib import suppress
from typing import Any, cast
from urllib.parse import quote

import orjson
import structlog
from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, get_resolver
from django.utils.encoding import iri_to_uri

from gateway.errors import (
    KNOWN_ERRORS,
    BodyTimeout,
    BodyTooLarge,
    Dialect,
    Hop,
    KnownError,
    MethodUnknown,
    PathUnknown,
    answer_for,
    hop_of,
)
from gateway.exchange import Exchange
from gateway.inbound.bodies import ClientLeft, Receive, Scope, Send, read_body
from gateway.inbound.requests import GatewayRequest, StreamedAnswer
from gateway.inbound.write_clock import ClientStalled, WriteClock
from gateway.runtime import Runtime
from selfhosted_models.errors import DeploymentError

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_PUBLIC_BODY_BYTES = 1024  # nobody who sends one there means well

#: Digest of the configuration the worker served from.
CONFIGURATION_HEADER = "X-Gitlab-Duo-Configuration"
#: Answered without a token.
PUBLIC_PATHS = frozenset({"/livez", "/readyz", "/monitoring/healthz", "/monitoring/ready"})


class GatewayHandler:
    """ASGI application for the AI Gateway's paths."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._under_way: dict[asyncio.Future[None], Exchange] = {}
        self._resolver = get_resolver(settings.GATEWAY_URLCONF)
        self._resolver.url_patterns  # noqa: B018 - imports the views now, not on a first request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = GatewayRequest(scope, io.BytesIO())
        request.runtime = self._runtime
        request.exchange = exchange = Exchange.begin(request.method or "", request.headers)
        try:
            refusal = await self._admit(request, receive)
            if refusal is not None:
                await _send_answer(refusal, request, send)
            else:
                await self._serve_unless_left(request, receive, send)
        except ClientLeft:
            exchange.outcome = "client_left"
        except ClientStalled:
            exchange.outcome = "client_stalled"  # not ended cleanly: the server cuts the connection
        except asyncio.CancelledError:
            exchange.fail("server_stopping", "", Hop.GATEWAY)
            raise
        finally:
            if request.turn is not None:
                request.turn.leave()
            exchange.finish()
            usage = self._runtime.usage
            if usage is not None and request.path_info not in PUBLIC_PATHS:
                usage.add(exchange)

    def drain(self) -> None:
        """Take no more requests, and end those that are still under way after a while.

        The server closes its sockets itself. What has no status by then is told to come again; a
        stream ends as it does when a model server breaks off.
        """
        if not self._runtime.is_draining:
            self._runtime.is_draining = True
            drain_s = self._runtime.options.drain_s
            asyncio.get_running_loop().call_later(drain_s, self._end_all)

    def _end_all(self) -> None:
        for work, exchange in self._under_way.items():
            exchange.is_stopping = True
            work.cancel()

    async def _admit(self, request: GatewayRequest, receive: Receive) -> HttpResponse | None:
        """Authenticate, then read the body; return the answer if it ends here."""
        exchange = request.exchange
        exchange.configuration = request.runtime.snapshot.version
        if _is_preflight(request):
            return _preflight(request)
        try:
            request.runtime.require_not_draining()
            if request.path_info not in PUBLIC_PATHS:
                is_any_client = Dialect.of_path(request.path_info) is Dialect.OPENAI
                exchange.caller = await request.runtime.trust.verifier.authenticate(
                    request.headers, request.client_address, repeats_claims=not is_any_client
                )
                request.turn = request.runtime.quotas.enter(exchange.user)
                if not exchange.caller.is_own_issued:  # only an instance knows what it is
                    request.runtime.docs.hear_of(request.headers.get("X-Gitlab-Version", ""))
            is_public = request.path_info in PUBLIC_PATHS
            max_bytes = MAX_PUBLIC_BODY_BYTES if is_public else MAX_BODY_BYTES
            # Set, not streamed: Django would refuse more than 2.5 MB, and we have our own limit.
            request._body = await read_body(request.scope, receive, max_bytes=max_bytes)
        except KNOWN_ERRORS as error:
            response = _error_response(request, error)
            if isinstance(error, BodyTooLarge | BodyTimeout):
                response["Connection"] = "close"  # the rest of the body was not read
            return response
        except ClientLeft:
            raise
        except Exception:  # the boundary, as in _answer
            log.exception("request.failed", request_id=exchange.request_id)
            return _bug_response(request)
        return None

    async def _serve_unless_left(
        self, request: GatewayRequest, receive: Receive, send: Send
    ) -> None:
        """Serve in a task of its own, which ends wherever it is when the client leaves."""
        work = asyncio.ensure_future(self._serve(request, send))
        leaving = asyncio.ensure_future(receive())
        self._under_way[work] = request.exchange
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ClientLeft
            work.result()
        finally:
            del self._under_way[work]
            leaving.cancel()
            work.cancel()
            await asyncio.wait({work})

    async def _serve(self, request: GatewayRequest, send: Send) -> None:
        response = await self._answer(request)
        try:
            await _send_answer(response, request, send)
        except ClientStalled:
            raise
        except Exception:  # a bug behind the status: the server logs it and cuts the connection
            request.exchange.fail("internal_error", "", Hop.GATEWAY)
            raise
        finally:
            if isinstance(response, StreamedAnswer):
                await response.aclose()

    async def _answer(self, request: GatewayRequest) -> HttpResponseBase:
        try:
            try:
                return await self._dispatch(request)
            except asyncio.CancelledError:
                request.exchange.raise_if_stopping()
                raise
        except KNOWN_ERRORS as error:
            return _error_response(request, error)
        except Exception:  # the boundary: a bug is a 500, never a dead task
            log.exception("request.failed", request_id=request.exchange.request_id)
            return _bug_response(request)

    async def _dispatch(self, request: GatewayRequest) -> HttpResponseBase:
        try:
            match = self._resolver.resolve(request.path_info)
        except Resolver404:
            return _redirect_without_slash(self._resolver, request)
        request.resolver_match = match
        request.exchange.route = match.route
        response = await match.func(request, *match.args, **match.kwargs)
        if response.status_code == 405:
            allowed = response.headers["Allow"]
            response = _error_response(request, MethodUnknown("Method Not Allowed"))
            response["Allow"] = allowed
        return cast(HttpResponseBase, response)


async def _send_answer(response: HttpResponseBase, request: GatewayRequest, send: Send) -> None:
    exchange = request.exchange
    exchange.status = response.status_code
    headers = {
        **response.headers,
        "X-Request-ID": exchange.request_id,
        "X-Content-Type-Options": "nosniff",
    }
    if exchange.prompt_digest:
        headers["X-Gitlab-Duo-Prompt-Digest"] = exchange.prompt_digest
    if exchange.configuration:
        headers[CONFIGURATION_HEADER] = exchange.configuration
    if "Origin" in request.headers:
        headers["Access-Control-Allow-Origin"] = "*"
    if exchange.deployment:
        headers["X-Gitlab-Duo-Deployment"] = exchange.deployment
    if exchange.failed_attempts:
        headers["X-Gitlab-Duo-Failed-Attempts"] = ", ".join(exchange.failed_attempts)
    heartbeat = response.heartbeat if isinstance(response, StreamedAnswer) else b""
    async with WriteClock(send, heartbeat) as write:
        if isinstance(response, StreamedAnswer):
            await _send_start(response.status_code, headers, exchange, write)
            await _send_parts(response, exchange, write)
            return
        content = cast(HttpResponse, response).content
        headers["Content-Length"] = str(len(content))
        await _send_start(response.status_code, headers, exchange, write)
        await write({"type": "http.response.body", "body": content})


async def _send_parts(response: StreamedAnswer, exchange: Exchange, write: Send) -> None:
    try:
        async for part in response.parts:
            await write({"type": "http.response.body", "body": part, "more_body": True})
    except DeploymentError as error:
        # The status is gone. Without the final message the server cuts the connection, so the
        # client sees that the answer broke off and never takes it for a whole one.
        exchange.fail(error.code, error.admin_message, hop_of(error))
        return
    await write({"type": "http.response.body"})


async def _send_start(status: int, headers: dict[str, str], exchange: Exchange, send: Send) -> None:
    if "X-Process-Time" not in headers:
        elapsed_s = time.monotonic() - exchange.started_at
        headers["X-Process-Time"] = f"{elapsed_s:.6f}"
    raw = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": raw})


def _error_response(request: GatewayRequest, error: KnownError) -> HttpResponse:
    exchange = request.exchange
    answer = answer_for(error, Dialect.of_path(request.path_info), exchange.request_id)
    reason = error.admin_message if isinstance(error, DeploymentError) else answer.reason
    exchange.fail(answer.code, reason, hop_of(error))
    return HttpResponse(
        orjson.dumps(answer.body),
        status=answer.status,
        content_type="application/json",
        headers=dict(answer.headers),
    )


def _bug_response(request: GatewayRequest) -> HttpResponse:
    request.exchange.fail("internal_error", "", Hop.GATEWAY)
    return HttpResponse(
        "Internal Server Error", status=500, content_type="text/plain; charset=utf-8"
    )


def _is_preflight(request: GatewayRequest) -> bool:
    asked = {"Origin", "Access-Control-Request-Method"}
    return request.method == "OPTIONS" and all(name in request.headers for name in asked)


def _preflight(request: GatewayRequest) -> HttpResponse:
    """Answer a CORS preflight: any origin and header may POST."""
    if request.headers["Access-Control-Request-Method"] != "POST":
        return HttpResponse("Disallowed CORS method", status=400, content_type="text/plain")
    response = HttpResponse("OK", content_type="text/plain; charset=utf-8")
    response["Access-Control-Allow-Methods"] = "POST"
    response["Access-Control-Max-Age"] = "600"
    if asked := request.headers.get("Access-Control-Request-Headers"):
        response["Access-Control-Allow-Headers"] = asked
    return response


def _redirect_without_slash(resolver: Any, request: GatewayRequest) -> HttpResponse:
    """Redirect to the path without its trailing slash if that exists; else raise PathUnknown."""
    path = request.path_info
    if path.endswith("/") and len(path) > 1:
        with suppress(Resolver404):
            resolver.resolve(path.rstrip("/"))
            query = request.META["QUERY_STRING"]
            location = quote(path.rstrip("/")) + (f"?{iri_to_uri(query)}" if query else "")
            return HttpResponse(status=307, headers={"Location": location})
    raise PathUnknown("Not Found")
