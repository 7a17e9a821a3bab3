"""How much one client may ask of one worker, told in headers."""

import hashlib
import math
from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from gateway.rest.clients import client_of


class ClientThrottle(SimpleRateThrottle):
    """REST_REQUESTS_PER_MINUTE for each client; 0 is no limit."""

    scope = "client"
    history: list[float]
    num_requests: int | None
    duration: int | None

    def get_rate(self) -> str | None:
        limit = settings.REST_REQUESTS_PER_MINUTE
        return f"{limit}/min" if limit else None

    def get_cache_key(self, request: Request, view: Any) -> str:
        ident = hashlib.sha256(client_of(request).name.encode()).hexdigest()
        return self.cache_format % {"scope": self.scope, "ident": ident}

    def headers(self) -> dict[str, str]:
        """Return what the client is told of its limit, once the request was counted."""
        if not hasattr(self, "history") or self.num_requests is None or self.duration is None:
            return {}
        oldest = self.history[-1] if self.history else self.now
        return {
            "RateLimit-Limit": str(self.num_requests),
            "RateLimit-Remaining": str(max(self.num_requests - len(self.history), 0)),
            "RateLimit-Reset": str(max(math.ceil(oldest + self.duration - self.now), 0)),
        }
