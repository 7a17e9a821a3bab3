"""What a serving format is: a pure translator between our completions and one server's JSON.

Nothing here opens a socket, reads a clock or knows a setting; `selfhosted_models.outbound` does the
talking.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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


class ServingFormat(ABC):
    """One wire signature, as several model servers speak it."""

    key: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def build_request(
        self, serving: ServingConfig, completion: Completion, *, stream: bool
    ) -> WireRequest:
        """Return the request that asks the model of `serving` for `completion`."""

    @abstractmethod
    def parse_body(self, body: bytes) -> CompletionChunk:
        """Return the whole answer of a request that did not stream.

        Raises:
            FormatError: The body is not JSON, or not of this format.
        """

    @abstractmethod
    def parse_event(self, data: bytes) -> CompletionChunk | None:
        """Return the piece in one event's data; an event without text is an empty piece.

        None says that the answer is over: nothing after it is read.

        Raises:
            FormatError: The data is not JSON, not of this format, or reports an error.
        """
