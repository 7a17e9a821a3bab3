"""The gunicorn worker class: uvicorn with uvloop and httptools (decision 0004)."""

from collections.abc import Callable
from types import FrameType
from typing import Any, ClassVar

from gunicorn.arbiter import Arbiter
from uvicorn import Config, Server
from uvicorn_worker import UvicornWorker

from gateway.inbound.protocol import LimitedProtocol


class DrainingServer(Server):
    """Tells the application that it is being stopped: uvicorn itself would only wait for it."""

    def __init__(self, config: Config, drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._drain()
        super().handle_exit(sig, frame)


class GatewayWorker(UvicornWorker):  # type: ignore[misc]
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": LimitedProtocol,  # httptools, with limits on heads
        "limit_concurrency": 2000,
        "lifespan": "on",  # a worker whose runtime does not start must not serve
        "server_header": False,
        "date_header": False,
        "ws": "none",
    }

    async def _serve(self) -> None:
        """As the base class does, with our server."""
        self.config.app = self.wsgi
        self.wsgi.listens_on = [listener.getsockname()[:2] for listener in self.sockets]
        server = DrainingServer(self.config, self.wsgi.drain)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR)
