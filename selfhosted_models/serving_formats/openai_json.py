"""What the chat and text dialects of OpenAI's API share."""

from typing import Any

import orjson

from selfhosted_models.errors import OVERLOADED
from selfhosted_models.serving import ServingConfig
from selfhosted_models.serving_formats.base import (
    CompletionChunk,
    ErrorReported,
    FormatError,
    Sampling,
    Usage,
)

DONE = b"[DONE]"


def sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """Return the members both dialects name alike; what is not set is left to the server."""
    fields: dict[str, Any] = {"max_tokens": sampling.max_output_tokens, "n": 1}
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


def load_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`.

    Raises:
        FormatError: It is none; an `ErrorReported` where it holds an error.
    """
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise FormatError("not JSON") from exc
    if not isinstance(document, dict):
        raise FormatError("not a JSON object")
    if error := document.get("error"):
        is_overloaded = OVERLOADED in data
        code = error.get("code") if isinstance(error, dict) else None
        if type(code) is not int or not 400 <= code <= 599:
            code = 503 if is_overloaded else 500
        raise ErrorReported(status=code, is_overloaded=is_overloaded)
    return document


def first_choice(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return the first choice, None where there is none (a usage-only event)."""
    choices = document.get("choices")
    if not isinstance(choices, list):
        raise FormatError("no list of choices")
    if not choices:
        return None
    if not isinstance(choices[0], dict):
        raise FormatError("a choice that is not an object")
    return choices[0]


def read_usage(document: dict[str, Any]) -> Usage | None:
    """Return the token counts; values that are not natural numbers count as not given."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    return Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def chunk(document: dict[str, Any], text: object, finish_reason: object) -> CompletionChunk:
    """Return a chunk from members that may be missing or null."""
    if not isinstance(text, str | None) or not isinstance(finish_reason, str | None):
        raise FormatError("text or finish reason of a wrong type")
    return CompletionChunk(text or "", finish_reason, read_usage(document))
