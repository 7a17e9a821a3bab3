"""What the dialects of OpenAI's API share."""

from collections.abc import Callable
from typing import Any

from selfhosted_models.serving import ServingConfig
from selfhosted_models.serving_formats.base import (
    CompletionChunk,
    FormatError,
    Inquiry,
    Sampling,
    Usage,
    WireRequest,
)
from selfhosted_models.serving_formats.reading import (
    load_answer,
    names_in,
    read_count,
    read_finish_reason,
    read_list,
    read_object,
    read_text,
)

_DONE = b"[DONE]"


def sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """Return the members all dialects name alike; what is not set is left to the server."""
    fields: dict[str, Any] = {"max_tokens": sampling.max_output_tokens}
    if sampling.temperature is not None:
        fields["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        fields["top_p"] = sampling.top_p
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    return fields


def stream_fields(serving: ServingConfig, *, stream: bool) -> dict[str, Any]:
    """Return the members that ask for a stream, and for its token counts."""
    if not stream:
        return {"stream": False}
    if not serving.reports_stream_usage:
        return {"stream": True}
    return {"stream": True, "stream_options": {"include_usage": True}}


def parse_chat_body(body: bytes) -> CompletionChunk:
    """Read a whole chat completion."""
    return _whole(body, _said)


def parse_chat_event(data: bytes) -> CompletionChunk:
    """Read a piece of a chat completion, or the whole of it."""
    return _piece(data, _said)


def parse_text_body(body: bytes) -> CompletionChunk:
    """Read a whole text completion."""
    return _whole(body, _written)


def parse_text_event(data: bytes) -> CompletionChunk:
    """Read a piece of a text completion, or the whole of it."""
    return _piece(data, _written)


def _said(choice: dict[str, Any]) -> object:
    said = choice.get("delta", choice.get("message"))
    if not isinstance(said, dict):
        raise FormatError("a choice without a message")
    return said.get("content")


def _written(choice: dict[str, Any]) -> object:
    return choice.get("text")


def _whole(body: bytes, text_of: Callable[[dict[str, Any]], object]) -> CompletionChunk:
    document = load_answer(body)
    choice = _first_choice(document)
    if choice is None:
        raise FormatError("no choice")
    reason = read_finish_reason(choice.get("finish_reason"))
    return CompletionChunk(read_text(text_of(choice)), reason, _usage(document), is_last=True)


def _piece(data: bytes, text_of: Callable[[dict[str, Any]], object]) -> CompletionChunk:
    if data == _DONE:
        return CompletionChunk("", is_last=True)
    document = load_answer(data)
    choice = _first_choice(document)
    if choice is None:
        return CompletionChunk("", usage=_usage(document))
    reason = read_finish_reason(choice.get("finish_reason"))
    return CompletionChunk(read_text(text_of(choice)), reason, _usage(document))


def _first_choice(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return the first choice, None where there is none (a usage-only event)."""
    choices = document.get("choices")
    if not isinstance(choices, list):
        raise FormatError("no list of choices")
    if not choices:
        return None
    if not isinstance(choices[0], dict):
        raise FormatError("a choice that is not an object")
    return choices[0]


def _usage(document: dict[str, Any]) -> Usage | None:
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    return Usage(read_count(usage.get("prompt_tokens")), read_count(usage.get("completion_tokens")))


def list_models() -> Inquiry[tuple[str, ...]]:
    """Return what asks for the names that are served."""
    return Inquiry(
        WireRequest("/models"), lambda body: names_in(read_list(load_answer(body), "data"), "id")
    )


def find_context(serving: ServingConfig) -> Inquiry[int | None]:
    """Return what asks for the context of the model, which some servers tell in their list.

    Source: vLLM and SGLang (`max_model_len`), Mistral (`max_context_length`), llama.cpp
    (`meta.n_ctx`).
    """

    def read(body: bytes) -> int | None:
        for model in read_list(load_answer(body), "data"):
            if model.get("id") == serving.model_identifier:
                told = (
                    model.get("max_model_len"),
                    model.get("max_context_length"),
                    read_object(model, "meta").get("n_ctx"),
                )
                return next((tokens for item in told if (tokens := read_count(item))), None)
        return None

    return Inquiry(WireRequest("/models"), read)
