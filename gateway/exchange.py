"""What is known of one inbound request while it is served, and the one log event it ends in."""

import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from gateway.auth import Caller
from selfhosted_models.serving_formats.base import Usage

log = structlog.get_logger("gateway.request")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

#: Rails gives up after 60 s; all attempts of one request share what is left of this.
FIRST_CONTENT_WITHIN_S = 55.0


@dataclass(slots=True)
class Exchange:
    """Filled in as the request goes on; times are of the monotonic clock.

    Attributes:
        request_id: The caller's, if it is well-formed, else a new one.
        route: Template of the matched URL; never the path itself, which a caller chooses.
        outcome: `ok`, `client_left`, `server_stopping`, or the code of the error that ended it.
        first_content_at: When the first text came from the model server.
    """

    request_id: str
    method: str
    started_at: float = field(default_factory=time.monotonic)
    route: str = ""
    status: int = 0
    outcome: str = "ok"
    reason: str = ""
    caller: Caller | None = None
    feature: str = ""
    deployment: str = ""
    prompt: str = ""
    prompt_digest: str = ""
    prompt_tokens_estimate: int = 0
    cut_inputs: tuple[str, ...] = ()
    configuration: str = ""
    usage: Usage = field(default_factory=Usage)
    first_content_at: float | None = None

    @classmethod
    def begin(cls, method: str, headers: Mapping[str, str]) -> "Exchange":
        sent = headers.get("X-Request-ID", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(16)
        return cls(request_id=request_id, method=method)

    @property
    def first_content_by(self) -> float:
        """When the first content must be there, on the monotonic clock (as the event loop's)."""
        return self.started_at + FIRST_CONTENT_WITHIN_S

    def note_content(self) -> None:
        if self.first_content_at is None:
            self.first_content_at = time.monotonic()

    def finish(self) -> None:
        """Write the log event: after the last byte, once per request. Never holds what was said."""
        now = time.monotonic()
        subject = self.caller.subject if self.caller else ""
        first_ms = self.first_content_at and _ms(self.first_content_at - self.started_at)
        write = log.info if self.status < 500 else log.warning
        write(
            "request.finished",
            request_id=self.request_id,
            method=self.method,
            route=self.route,
            status=self.status,
            outcome=self.outcome,
            reason=self.reason,
            caller=hashlib.sha256(subject.encode()).hexdigest()[:16] if subject else "",
            feature=self.feature,
            deployment=self.deployment,
            prompt=self.prompt,
            prompt_digest=self.prompt_digest,
            prompt_tokens_estimate=self.prompt_tokens_estimate,
            cut_inputs=list(self.cut_inputs),
            configuration=self.configuration,
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            first_content_ms=first_ms,
            total_ms=_ms(now - self.started_at),
        )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
