"""What a serving format is: a pure translator between our completions and one server's JSON.

Nothing here opens a socket, reads a clock or knows a setting; `selfhosted_models.outbound` does the
talking.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from selfhosted_models.errors import (
    OVERLOADED,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRejected,
)
from selfhosted_models.framing import SERVER_SENT_EVENTS, Framings
from selfhosted_models.serving import ServingConfig

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model is asked to answer.

    Attributes:
        max_output_tokens: Most tokens to generate.
        temperature: 0 to 2; None leaves it to the server.
        top_p: 0 to 1; None leaves it to the server.
        stop: Sequences that end the answer; not part of it.
    """

    max_output_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """What is asked of a model: chat turns, or one text to continue. Exactly one is set."""

    sampling: Sampling
    messages: tuple[Message, ...] = ()
    text: str | None = None


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One POST to a model server: a constant path below the endpoint, and a JSON body."""

    path: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the model server counted them; None where it did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            _sum(self.input_tokens, other.input_tokens),
            _sum(self.output_tokens, other.output_tokens),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)


@dataclass(frozen=True, slots=True)
class CompletionChunk:
    """A piece of an answer, or the whole of one.

    Attributes:
        text: What the model wrote; may be empty.
        finish_reason: Why it ended (`stop`, `length`, …); None while it goes on.
        usage: Token counts, when this piece carries them.
    """

    text: str
    finish_reason: str | None = None
    usage: Usage | None = None


class FormatError(Exception):
    """The server's answer is not of this format. The message never holds any of its bytes."""

    def of_hop(self, hop: str, title: str) -> UpstreamError:
        """Return what this is to a request: `hop` is who answered, `title` its serving format."""
        return UpstreamProtocolError(
            f"{hop} sent {self}, which is not {title}: check its serving format."
        )


class ErrorReported(FormatError):
    """The server reports an error in place of an answer, under a status that says success.

    Attributes:
        status: The HTTP status the error is worth.
        is_overloaded: Whether the server says that it has too much to do just now.
    """

    def __init__(self, *, status: int, is_overloaded: bool = False) -> None:
        super().__init__("an error in place of an answer")
        self.status = status
        self.is_overloaded = is_overloaded

    def of_hop(self, hop: str, title: str) -> UpstreamError:
        advice = "see its own log"
        if self.is_overloaded:
            advice = f"it is overloaded ({OVERLOADED.decode()}), ask again in a moment"
        return UpstreamRejected(
            f"{hop} sent {self}, worth a status {self.status}: {advice}.",
            status=self.status,
            is_overloaded=self.is_overloaded,
        )


class ServingFormat(ABC):
    """One wire signature, as several model servers speak it.

    Attributes:
        key: How rows and configuration documents refer to it.
        title: What admins choose it by.
        endpoint_hint: What the endpoint of such a server looks like, for messages.
        framings: The media types a streamed answer may have, and what cuts each into events.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    endpoint_hint: ClassVar[str]
    framings: ClassVar[Framings] = SERVER_SENT_EVENTS

    def headers(self, serving: ServingConfig, *, stream: bool) -> dict[str, str]:
        """Return the headers that speak this format: what is sent and taken, and the key."""
        headers = {
            "Content-Type": "application/json",
            "Accept": next(iter(self.framings)) if stream else "application/json",
        }
        if serving.api_key is not None:
            headers["Authorization"] = f"Bearer {serving.api_key.reveal()}"
        return headers

    @abstractmethod
    def build_request(
        self, serving: ServingConfig, completion: Completion, *, stream: bool
    ) -> WireRequest:
        """Return the request that asks the model of `serving` for `completion`."""

    @abstractmethod
    def parse_body(self, body: bytes) -> CompletionChunk:
        """Return the whole answer of a request that did not stream.

        Raises:
            FormatError: The body is not JSON, not of this format, or reports an error.
        """

    @abstractmethod
    def parse_event(self, data: bytes) -> CompletionChunk | None:
        """Return the piece in one event; an event without text is an empty piece.

        A server may answer a request to stream with the whole of it, which comes as one event.
        None says that the answer is over: nothing after it is read.

        Raises:
            FormatError: The data is not JSON, not of this format, or reports an error.
        """
