"""Reading a server's JSON: nothing in it is trusted to be what it should."""

from typing import Any

import orjson

from selfhosted_models.errors import OVERLOADED
from selfhosted_models.serving_formats.base import ErrorReported, FormatError

#: Every way a server says why it ended, and ours; what is not here is an end like any other.
_FINISH_REASONS = {
    "length": "length",
    "limit": "length",  # llama.cpp
    "model_length": "length",  # Mistral: the model's own context was full
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
}
_FAILURES = {"error", "abort"}
#: No answer takes more tokens.
MAX_COUNT = 2**31 - 1


def load_json(data: bytes) -> Any:
    """Return the JSON document in `data`.

    Raises:
        FormatError: It is none.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise FormatError("not JSON") from exc


def load_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`, which may well report an error.

    Raises:
        FormatError: It is none.
    """
    document = load_json(data)
    if not isinstance(document, dict):
        raise FormatError("not a JSON object")
    return document


def load_answer(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`.

    Raises:
        FormatError: It is none; an `ErrorReported` where it has an `error`.
    """
    document = load_object(data)
    if error := document.get("error"):
        is_overloaded = OVERLOADED in data
        code = error.get("code") if isinstance(error, dict) else None
        if type(code) is not int or not 400 <= code <= 599:
            code = 503 if is_overloaded else 500
        raise ErrorReported(status=code, is_overloaded=is_overloaded)
    return document


def read_list(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects of a list member; what is no object is passed over.

    Raises:
        FormatError: There is no such list.
    """
    items = document.get(name)
    if not isinstance(items, list):
        raise FormatError(f"no list of {name}")
    return [item for item in items if isinstance(item, dict)]


def read_object(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an object member; one of another type counts as not given."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def read_text(value: object) -> str:
    """Return a text that may be missing.

    Raises:
        FormatError: It is of another type.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise FormatError("text of a wrong type")
    return value


def read_count(value: object) -> int | None:
    """Return a number of tokens; what cannot be one counts as not given."""
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None


def read_finish_reason(value: object) -> str | None:
    """Return `stop`, `length`, `content_filter` or `tool_calls`; None while the answer goes on.

    Raises:
        FormatError: It is not text; an `ErrorReported` where the answer failed.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise FormatError("finish reason of a wrong type")
    if value in _FAILURES:
        raise ErrorReported(status=500)
    return _FINISH_REASONS.get(value, "stop")


def names_in(items: list[dict[str, Any]], member: str) -> tuple[str, ...]:
    """Return the names of listed models, each once and in order."""
    names = (item.get(member) for item in items)
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name))
