"""What a format's tests hand to the checks that hold for every format (`test_every_format`)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from selfhosted_models.serving_formats.base import (
    Ability,
    Completion,
    CompletionChunk,
    FormatError,
    Message,
    Sampling,
    ServingFormat,
    Usage,
)
from selfhosted_models.serving_formats.stop_sequences import StopCutter

GREETING = "Grüße, 世界 🦊"
MARK = "zebra-7"  # what a server says; it must not come back in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Answers as the server's documentation shows them. Every answer says `GREETING`.

    Attributes:
        media_type: Of `stream`.
        stream: A whole streamed answer, its lines ended by LF.
        finish_reason: Why the stream ended, in our words; None where the server does not say.
        stream_usage: Its tokens.
        body: The same answer in one body.
        body_finish_reason: Why it ended, in our words.
        body_usage: Its tokens.
        errors: Errors under a status of 200, each with the status it is worth and whether the
            server is overloaded.
        not_of_this_format: JSON that is no answer.
        models: An answer to `list_models`, and the names in it.
        context: An answer to `find_context` of the deployment of `make_serving`, and the tokens.
    """

    media_type: str
    stream: bytes
    finish_reason: str | None
    stream_usage: Usage | None
    body: bytes
    body_finish_reason: str | None
    body_usage: Usage | None
    errors: tuple[tuple[bytes, int, bool], ...]
    not_of_this_format: tuple[bytes, ...]
    models: tuple[bytes, tuple[str, ...]] | None = None
    context: tuple[bytes, int] | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A streamed answer as a caller gets it; `is_whole` is False where it broke off."""

    text: str
    finish_reason: str | None
    usage: Usage | None
    is_whole: bool


def hear(
    serving_format: ServingFormat,
    media_type: str,
    parts: Iterable[bytes],
    stop: tuple[str, ...] = (),
) -> Heard:
    """Read a stream that came in these parts and ended."""
    splitter = serving_format.framings[media_type]()
    cutter = StopCutter(() if Ability.STOP_SEQUENCES in serving_format.abilities else stop)
    events = [event for part in parts for event in splitter.feed(part)]
    heard = Heard("", None, None, Ability.FINISH_REASON not in serving_format.abilities)
    for event in [*events, *splitter.flush()]:
        chunk = cutter.cut(serving_format.parse_event(event))
        reason = chunk.finish_reason or heard.finish_reason
        heard = replace(
            heard,
            text=heard.text + chunk.text,
            finish_reason=reason,
            usage=chunk.usage or heard.usage,
            is_whole=heard.is_whole or reason is not None or chunk.is_last,
        )
        if chunk.is_last:
            return heard
    return replace(heard, text=heard.text + cutter.rest())


def refusal(serving_format: ServingFormat, document: bytes, *, is_event: bool) -> FormatError:
    """Return the error with which an event or a body is refused."""
    try:
        said: CompletionChunk = (
            serving_format.parse_event(document)
            if is_event
            else serving_format.parse_body(document)
        )
    except FormatError as error:
        return error
    raise AssertionError(f"it was taken: {said}")


SYSTEM = Message("system", "Be brief.")
ASK = Message("user", "What is a runner?")


def asked(*messages: Message, text: str | None = None, **sampling: Any) -> Completion:
    """Return a completion of 64 tokens."""
    return Completion(Sampling(**{"max_output_tokens": 64, **sampling}), messages, text)
