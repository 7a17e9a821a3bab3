"""Requests that have ended, as the handler leaves them."""

from typing import Any

from gateway.authentication.verifier import Caller
from gateway.exchange import Exchange
from selfhosted_models.serving_formats.base import Usage

USAGE = Usage(100, 20)
CALLER = Caller("instance-1", frozenset(), is_own_issued=False)


def ended(
    at: float,
    *,
    total_s: float = 0.9,
    first_s: float | None = 0.25,
    usage: Usage = USAGE,
    **fields: Any,
) -> Exchange:
    """Return a request whose last byte was sent `at` a time of the monotonic clock."""
    known = {
        "feature": "duo_chat",
        "deployment": "gpu1",
        "caller": CALLER,
        "sent_user": "u-1",
        "status": 200,
    }
    exchange = Exchange("request-1", "POST", started_at=at - total_s, usage=usage)
    for name, value in {**known, **fields}.items():
        setattr(exchange, name, value)
    exchange.first_content_at = None if first_s is None else exchange.started_at + first_s
    exchange.ended_at = at
    return exchange
