"""What is known of one inbound request while it is served, and the one log event it ends in."""

import asyncio
import hashlib
import math
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import structlog

from gateway.authentication.verifier import Caller
from gateway.errors import Hop
from gateway.metrics import count_request
from gateway.routing.errors import ServerStopping
from prompts.render import RenderedPrompt
from selfhosted_models.serving import Clocks
from selfhosted_models.serving_formats.base import Usage

log = structlog.get_logger("gateway.request")

MAX_USER_CHARS = 128
MAX_REASON_CHARS = 500
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
MAX_TOKEN_ID_CHARS = 64
_DEADLINE_MS = re.compile(r"[0-9]{1,9}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

#: Rails gives up after 60 s; all attempts of one request share what is left of this.
FIRST_CONTENT_WITHIN_S = 55.0


def sent_request_id(headers: Mapping[str, str]) -> str:
    """Return the request id a caller sent; empty if there is none that is well-formed."""
    sent = headers.get("X-Request-ID", "")
    return sent if _REQUEST_ID.fullmatch(sent) else ""


class Ending(StrEnum):
    """How a request ended, as far as error rates are concerned."""

    ANSWERED = "answered"
    REFUSED = "refused"  # the caller's own doing: a bad token or body, an inactive feature, a quota
    FAILED = "failed"  # ours, or the model server's
    CANCELLED = "cancelled"  # the client left before the end


#: Outcomes of requests whose client did not wait for the end.
_CANCELLED = frozenset({"client_left", "client_stalled"})


@dataclass(slots=True)
class Exchange:
    """Filled in as the request goes on; times are of the monotonic clock.

    Attributes:
        request_id: The caller's, if it is well-formed, else a new one.
        route: Template of the matched URL; never the path itself, which a caller chooses.
        outcome: `ok`, `client_left`, `client_stalled`, `server_stopping`, or the code of the error
            that ended it.
        hop: Where that error came about.
        failed_attempts: Who was asked in vain, or could not be: "deployment: code".
        is_stopping: Whether the worker stops, and this request is cancelled for it.
        queued_s: How long it waited for a slot.
        first_content_at: When the first text came from the model server.
        ended_at: When the last byte was sent; 0 until then.
    """

    request_id: str
    method: str
    sent_user: str = ""
    deadline_s: float | None = None
    started_at: float = field(default_factory=time.monotonic)
    route: str = ""
    status: int = 0
    outcome: str = "ok"
    reason: str = ""
    hop: Hop | None = None
    caller: Caller | None = None
    feature: str = ""
    deployment: str = ""
    prompt: str = ""
    is_stopping: bool = False
    attempts: int = 0
    failed_attempts: list[str] = field(default_factory=list)
    queued_s: float = 0.0
    prompt_digest: str = ""
    prompt_tokens_estimate: int = 0
    cut_inputs: tuple[str, ...] = ()
    configuration: str = ""
    usage: Usage = field(default_factory=Usage)
    first_content_at: float | None = None
    ended_at: float = 0.0

    @classmethod
    def begin(cls, method: str, headers: Mapping[str, str]) -> "Exchange":
        request_id = sent_request_id(headers) or secrets.token_hex(16)
        deadline_ms = headers.get("X-Request-Deadline-Ms", "")
        return cls(
            request_id=request_id,
            method=method,
            sent_user=headers.get("X-Gitlab-Global-User-Id", "")[:MAX_USER_CHARS],
            deadline_s=int(deadline_ms) / 1000 if _DEADLINE_MS.fullmatch(deadline_ms) else None,
        )

    @property
    def user(self) -> str:
        """Whose request it is; "" where an instance's token names no user."""
        if self.caller is not None and self.caller.is_own_issued:
            return self.caller.subject
        return self.sent_user

    @property
    def ends_by(self) -> float:
        """When the caller stops waiting, on the monotonic clock (as the event loop's)."""
        return math.inf if self.deadline_s is None else self.started_at + self.deadline_s

    @property
    def first_content_by(self) -> float:
        """When the first content must be there, on the same clock."""
        return min(self.ends_by, self.started_at + FIRST_CONTENT_WITHIN_S)

    def within_deadline(self, clocks: Clocks) -> Clocks:
        """Return `clocks` with no more in all than the caller has left."""
        left_s = max(self.ends_by - time.monotonic(), 0)
        return replace(clocks, total_s=min(clocks.total_s, left_s))

    def note_attempt(self, deployment: str, rendered: RenderedPrompt) -> None:
        """Note whom it is sent to next, and with what prompt."""
        self.attempts += 1
        self.deployment = deployment
        definition = rendered.definition
        if definition is not None:
            self.prompt = f"{definition.prompt}/{definition.variant}/{definition.version}"
            self.prompt_digest = definition.digest
        self.prompt_tokens_estimate = rendered.input_tokens
        self.cut_inputs = rendered.cut_inputs

    def raise_if_stopping(self) -> None:
        """Turn a cancellation into an error the client is told, if it is ours and not the client's.

        Raises:
            ServerStopping: It is.
        """
        task = asyncio.current_task()
        if self.is_stopping and task is not None:
            task.uncancel()
            raise ServerStopping

    def fail(self, code: str, reason: str, hop: Hop) -> None:
        """Note the error that ended it; a caller's own words may be in the reason."""
        self.outcome, self.hop = code, hop
        self.reason = _CONTROL_CHARACTERS.sub(" ", reason[:MAX_REASON_CHARS])

    @property
    def ending(self) -> Ending:
        if self.outcome in _CANCELLED:
            return Ending.CANCELLED
        if self.hop is None:
            return Ending.ANSWERED
        return Ending.REFUSED if self.hop is Hop.CALLER else Ending.FAILED

    @property
    def first_content_s(self) -> float | None:
        """How long the first text was waited for; None if none came."""
        return None if self.first_content_at is None else self.first_content_at - self.started_at

    @property
    def total_s(self) -> float:
        """From first to last byte, once it has ended."""
        return self.ended_at - self.started_at

    def note_content(self) -> None:
        if self.first_content_at is None:
            self.first_content_at = time.monotonic()

    def finish(self) -> None:
        """Write the log event: after the last byte, once per request. Never holds what was said."""
        self.ended_at = time.monotonic()
        subject = self.caller.subject if self.caller else ""
        first_s = self.first_content_s
        count_request(
            feature=self.feature,
            deployment=self.deployment,
            outcome=self.outcome,
            total_s=self.total_s,
            first_content_s=first_s,
            queued_s=self.queued_s,
            attempts=self.attempts,
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
        )
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
            token_id=self.caller.token_id[:MAX_TOKEN_ID_CHARS] if self.caller else "",
            feature=self.feature,
            deployment=self.deployment,
            attempts=self.attempts,
            failed_attempts=self.failed_attempts,
            queued_ms=_ms(self.queued_s),
            prompt=self.prompt,
            prompt_digest=self.prompt_digest,
            prompt_tokens_estimate=self.prompt_tokens_estimate,
            cut_inputs=list(self.cut_inputs),
            configuration=self.configuration,
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            first_content_ms=None if first_s is None else _ms(first_s),
            total_ms=_ms(self.total_s),
        )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
