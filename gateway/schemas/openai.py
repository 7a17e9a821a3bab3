"""Body of `/openai/v1/chat/completions`: what of OpenAI's API is read; the rest is passed over.

Source: OpenAI API reference, chat completions.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from gateway.schemas.code import WireModel

MAX_MESSAGES = 256
MAX_OUTPUT_TOKENS = 8192
MAX_STOPS = 4


def _join_text_parts(content: Any) -> Any:
    """Clients may send content as a list of parts; the text ones are joined."""
    if not isinstance(content, list):
        return content
    texts = [
        part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        for part in content
    ]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("only parts of type text are understood")
    return "".join(map(str, texts))


def _as_list(stop: Any) -> Any:
    if stop is None:
        return ()
    if isinstance(stop, list):
        return stop[: MAX_STOPS + 1]  # one too many is enough to be refused
    return [stop] if isinstance(stop, str) else stop


StopText = Annotated[str, StringConstraints(min_length=1, max_length=225)]
Stops = Annotated[tuple[StopText, ...], BeforeValidator(_as_list), Field(max_length=MAX_STOPS)]


class ChatMessage(WireModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_join_text_parts)]


class StreamOptions(WireModel):
    include_usage: bool = False


class ChatCompletionRequest(WireModel):
    model: Annotated[str, StringConstraints(max_length=255)]
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MAX_OUTPUT_TOKENS)] | None = None
    stop: Annotated[
        tuple[StopText, ...], BeforeValidator(_as_list), Field(max_length=MAX_STOPS)
    ] = ()
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_OUTPUT_TOKENS)] | None = None
