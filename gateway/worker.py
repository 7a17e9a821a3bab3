"""The gunicorn worker class: uvicorn with uvloop and httptools (decision 0004)."""

from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker

from gateway.protocol import LimitedProtocol


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
