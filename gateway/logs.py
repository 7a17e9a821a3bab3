"""One JSON object a line, for our events and for those of the libraries."""

import logging
from typing import Any, TextIO

import orjson
import structlog

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

#: Talk about every connection or request; what matters of it is in our own events.
_CHATTY = (
    "uvicorn.access",
    "django.request",
    "django.template",
    "httpx",
    "asyncio",
    "aiohttp.access",
    "axes",
)

#: What this process serves from, once it does.
_served: dict[str, str] = {}


def tell_configuration(version: str) -> None:
    """Have each line of this process name the configuration it serves from now on."""
    _served["configuration"] = version


def _add_configuration(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Name it, unless the event is about another, as that of a request that began before."""
    return {**_served, **event}


_SHARED: tuple[Any, ...] = (
    _add_configuration,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def _to_line(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def configure(level: str, stream: TextIO) -> None:
    """Send structlog's events and the standard library's records through one handler."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=_to_line),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level if level in LOG_LEVELS else "INFO")  # a check says so of others
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
