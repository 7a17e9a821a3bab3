"""What the gateway's views are given, and the one kind of response that is not Django's own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http.response import HttpResponseBase

from gateway.exchange import Exchange
from gateway.routing.quotas import Turn
from gateway.runtime import Runtime


class GatewayRequest(ASGIRequest):
    """A request with what the gateway's views need."""

    runtime: Runtime
    exchange: Exchange
    turn: Turn | None = None

    @property
    def client_address(self) -> str:
        """Where it comes from; behind a trusted proxy, what that says. "" if nobody knows."""
        client = self.scope.get("client")
        return client[0] if client else ""

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        """Leave the header alone: bodies are JSON, and a caller can make parsing it expensive."""
        self.content_type, self.content_params = "", {}


class StreamedAnswer(HttpResponseBase):
    """A response whose parts are sent as they come, and whose source is closed however it ends.

    Attributes:
        heartbeat: What keeps proxies from giving up on a silent stream; empty where the format has
            nothing that means nothing.
    """

    streaming = True

    def __init__(
        self,
        parts: AsyncIterator[bytes],
        aclose: Callable[[], Awaitable[None]],
        content_type: str,
        heartbeat: bytes = b"",
    ) -> None:
        super().__init__(content_type=content_type)
        self["Cache-Control"] = "no-store"
        self["X-Accel-Buffering"] = "no"  # tells nginx to pass each part on at once
        self.parts = parts
        self.aclose = aclose
        self.heartbeat = heartbeat
