"""What a serving format is: a pure translator between our completions and one server's JSON.

Nothing here opens a socket, reads a clock or knows a setting; `selfhosted_models.outbound` does the
talking.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, Literal, TypeVar

from selfhosted_models.errors import (
    OVERLOADED,
    EndpointRefused,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRejected,
)
from selfhosted_models.framing import SERVER_SENT_EVENTS, Framings
from selfhosted_models.serving import ServingConfig

Role = Literal["system", "user", "assistant"]

T = TypeVar("T")


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
class FillInMiddle:
    """Code with a gap to fill: what stands before it, and what after it."""

    prefix: str
    suffix: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What is asked of a model: chat turns, or one text to continue. Exactly one is set.

    Attributes:
        fill_in_middle: The same in parts, for servers that join them with the model's own tokens.
    """

    sampling: Sampling
    messages: tuple[Message, ...] = ()
    text: str | None = None
    fill_in_middle: FillInMiddle | None = None


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One request to a model server: a path below the endpoint, and a JSON body for a POST."""

    path: str
    body: dict[str, Any] | None = None

    @property
    def method(self) -> Literal["GET", "POST"]:
        return "GET" if self.body is None else "POST"


@dataclass(frozen=True, slots=True)
class Inquiry(Generic[T]):
    """What a server is asked about itself.

    Attributes:
        request: To be sent with the format's headers.
        read: Reads the whole body of the answer; raises `FormatError`.
    """

    request: WireRequest
    read: Callable[[bytes], T]


class Ability(StrEnum):
    """What servers of a format can do, as their documentation says; a probe measures one server."""

    CHAT = "chat"  # the server applies the model's own chat template
    TEXT = "text"  # a text is continued as it is
    FILL_IN_MIDDLE = "fill_in_middle"  # the server joins prefix and suffix itself
    STREAMING = "streaming"
    STREAM_USAGE = "stream_usage"  # a stream says how many tokens it took
    FINISH_REASON = "finish_reason"  # a stream without one has broken off
    STOP_SEQUENCES = "stop_sequences"  # the server ends before them; elsewhere we cut
    MODEL_LIST = "model_list"
    CONTEXT = "context"


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
        is_last: Whether the answer is over: nothing after it is read.
    """

    text: str
    finish_reason: str | None = None
    usage: Usage | None = None
    is_last: bool = False


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
        key: How rows and configuration documents refer to it; also the name of its folder.
        title: What admins choose it by.
        endpoint_hint: What the endpoint of such a server looks like, for messages.
        base_path: What the path of such an endpoint usually ends in.
        abilities: What its servers can do.
        framings: The media types a streamed answer may have, and what cuts each into events.
        model_names: The model identifiers that can be asked for, and what to say of others.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    endpoint_hint: ClassVar[str]
    base_path: ClassVar[str] = ""
    abilities: ClassVar[frozenset[Ability]]
    framings: ClassVar[Framings] = SERVER_SENT_EVENTS
    model_names: ClassVar[re.Pattern[str]] = re.compile(".*", re.DOTALL)
    model_names_hint: ClassVar[str] = ""

    def headers(self, serving: ServingConfig, *, stream: bool) -> dict[str, str]:
        """Return the headers that speak this format: what is sent and taken, and the key."""
        headers = {
            "Content-Type": "application/json",
            "Accept": next(iter(self.framings)) if stream else "application/json",
        }
        if serving.api_key is not None:
            headers["Authorization"] = f"Bearer {serving.api_key.reveal()}"
        return headers

    def check_model_identifier(self, identifier: str) -> None:
        """Pass if a model of this name can be asked for.

        Raises:
            EndpointRefused: It cannot; the message says which names can.
        """
        if not self.model_names.fullmatch(identifier):
            raise EndpointRefused(self.model_names_hint)

    @abstractmethod
    def build_request(
        self, serving: ServingConfig, completion: Completion, *, stream: bool
    ) -> WireRequest:
        """Return the request that asks the model of `serving` for `completion`."""

    @abstractmethod
    def parse_body(self, body: bytes) -> CompletionChunk:
        """Return the whole answer of a request that did not stream, as its last piece.

        Raises:
            FormatError: The body is not JSON, not of this format, or reports an error.
        """

    @abstractmethod
    def parse_event(self, data: bytes) -> CompletionChunk:
        """Return the piece in one event; an event without text is an empty piece.

        A server may answer a request to stream with the whole of it, which comes as one event.

        Raises:
            FormatError: The data is not JSON, not of this format, or reports an error.
        """

    def list_models(self) -> Inquiry[tuple[str, ...]] | None:
        """Return what asks for the names that are served; None where servers do not tell."""
        return None

    def find_context(self, serving: ServingConfig) -> Inquiry[int | None] | None:
        """Return what asks how many tokens the model takes, input and output together.

        None where servers do not tell; the answer is None where this server does not.
        """
        return None
