"""The ASGI application: the gateway's paths to the lean handler, pages to Django's own."""

import os
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

from django.core.asgi import get_asgi_application

#: Loads the apps; so it comes before what needs them.
_django = get_asgi_application()

from gateway.handler import GatewayHandler, Receive, Scope, Send  # noqa: E402
from gateway.runtime import Runtime, runtime_settings  # noqa: E402
from gateway.urls import PAGE_PREFIXES, PAGES  # noqa: E402


def is_page(path: str) -> bool:
    """Tell whether Django's own handler answers `path`."""
    return path in PAGES or path.startswith(PAGE_PREFIXES)


class Application:
    """Chooses the handler by path; starts and stops the runtime with the server.

    Args:
        start: Makes the runtime, in the server's event loop.
    """

    def __init__(self, start: Any = None) -> None:
        self._start = start or (lambda: Runtime.start(runtime_settings()))
        self._gateway: GatewayHandler | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif is_page(scope.get("path", "")):
            await _django(cast(dict[str, Any], scope), receive, cast(Any, send))
        elif self._gateway is not None:
            await self._gateway(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        try:
            runtime = await self._start()
        except Exception as error:
            # The traceback goes to the log; the server stops instead of serving half a gateway.
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        self._gateway = GatewayHandler(runtime)
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await runtime.aclose()
        await send({"type": "lifespan.shutdown.complete"})


application = Application()
