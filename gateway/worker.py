"""The gunicorn worker class: uvicorn with uvloop and httptools (decision 0004)."""

from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker


class GatewayWorker(UvicornWorker):  # type: ignore[misc]
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": "httptools",
        "lifespan": "on",  # a worker whose runtime does not start must not serve
        "server_header": False,
        "date_header": False,
        "ws": "none",
    }
