"""The ASGI application: the gateway's paths to the lean handler, pages to Django's own."""

import asyncio
import os
import secrets
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

import orjson
from django.core.asgi import get_asgi_application

#: Loads the apps; so it comes before what needs them.
_django = get_asgi_application()

from django.conf import settings  # noqa: E402

from gateway import metrics  # noqa: E402
from gateway.background import local_schedule  # noqa: E402
from gateway.errors import BodyTimeout, BodyTooLarge, GatewayError, NoDatabase  # noqa: E402
from gateway.inbound.bodies import (  # noqa: E402
    ClientLeft,
    Message,
    Receive,
    Scope,
    Send,
    read_body,
)
from gateway.inbound.handler import CONFIGURATION_HEADER, GatewayHandler  # noqa: E402
from gateway.no_database.base import INSTRUCTION  # noqa: E402
from gateway.rest import problems  # noqa: E402
from gateway.rest.authentication import RUNTIME_IN_SCOPE  # noqa: E402
from gateway.runtime import Runtime, runtime_settings  # noqa: E402
from gateway.urls import API_PREFIX, PAGE_PREFIXES, PAGES  # noqa: E402

METRICS_PORT = settings.METRICS_PORT
MAX_PAGE_BODY_BYTES = 2_500_000  # as much as Django lets a form have


def is_page(path: str) -> bool:
    """Tell whether Django's own handler answers `path`."""
    return path in PAGES or path.startswith(PAGE_PREFIXES)


def _is_for_metrics(scope: Scope) -> bool:
    """Tell whether a request came in at the port of METRICS_BIND."""
    return bool(METRICS_PORT) and (scope.get("server") or ("", 0))[1] == METRICS_PORT


async def _metrics(scope: Scope, send: Send) -> None:
    is_found = scope.get("path") == "/metrics"
    # In a thread: it reads what all workers have written.
    body = await asyncio.to_thread(metrics.exposition) if is_found else b"Only /metrics is here."
    content_type = metrics.CONTENT_TYPE if is_found else "text/plain; charset=utf-8"
    await send(
        {
            "type": "http.response.start",
            "status": 200 if is_found else 404,
            "headers": [(b"content-type", content_type.encode())],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def _refuse_page(scope: Scope, send: Send, error: GatewayError) -> None:
    content_type, body = "text/plain; charset=utf-8", error.safe_message.encode()
    if scope["path"].startswith(API_PREFIX):
        content_type = problems.CONTENT_TYPE
        body = orjson.dumps(problems.problem_of(error).body(secrets.token_hex(16)))
    headers = [(b"content-type", content_type.encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _naming_configuration(runtime: Runtime | None, send: Send) -> Send:
    """Return `send`, with the configuration this worker serves in the head of the answer."""

    async def send_named(message: Message) -> None:
        version = runtime.snapshot.version if runtime else ""
        if version and message["type"] == "http.response.start":
            name = (CONFIGURATION_HEADER.lower().encode(), version.encode())
            message = {**message, "headers": [*message["headers"], name]}
        await send(message)

    return send_named


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a page; Django itself would take a body of any size, at any pace."""
    if settings.SERVING_CONFIG_URL:
        await _refuse_page(scope, send, NoDatabase(INSTRUCTION))
        return
    try:
        body = await read_body(scope, receive, max_bytes=MAX_PAGE_BODY_BYTES)
    except ClientLeft:
        return
    except (BodyTooLarge, BodyTimeout) as error:
        await _refuse_page(scope, send, error)
        return
    # REST framework takes a body of undeclared length for none.
    headers = [pair for pair in scope["headers"] if pair[0] != b"content-length"]
    headers.append((b"content-length", str(len(body)).encode()))
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return whole.pop() if whole else await receive()

    await _django({**scope, "headers": headers}, receive_again, cast(Any, send))


class Application:
    """Chooses the handler by path; starts and stops the runtime with the server.

    Args:
        start: Makes the runtime, in the server's event loop.
    """

    def __init__(self, start: Any = None) -> None:
        self.listens_on: list[tuple[str, int]] = []
        self._start = start or (
            lambda: Runtime.start(runtime_settings(), self.listens_on, local_schedule())
        )
        self._runtime: Runtime | None = None
        self._gateway: GatewayHandler | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def drain(self) -> None:
        """Begin to stop; may be called from a signal handler."""
        if self._gateway is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._gateway.drain)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif _is_for_metrics(scope):
            await _metrics(scope, send)
        elif is_page(scope.get("path", "")):
            # For the REST API, which verifies tokens as the gateway's paths do.
            scope = {**scope, RUNTIME_IN_SCOPE: self._runtime}
            await _page(scope, receive, _naming_configuration(self._runtime, send))
        elif self._gateway is not None:
            await self._gateway(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        try:
            self._runtime = runtime = await self._start()
        except Exception as error:
            # The traceback goes to the log; the server stops instead of serving half a gateway.
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        self._loop = asyncio.get_running_loop()
        self._gateway = GatewayHandler(runtime)
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await runtime.aclose()
        await send({"type": "lifespan.shutdown.complete"})


application = Application()
