"""Reading JSON that anyone may have sent: bounded in shape, because a few bytes can cost much."""

from typing import Any

import orjson

from gateway.errors import RequestMalformed

MAX_JSON_DEPTH = 64
#: In all, those inside texts included: 4 MiB of nothing else would take seconds to read.
MAX_JSON_BRACKETS = 100_000
MAX_JSON_COMMAS = 400_000
#: Members of objects; those quoted inside texts are told apart by their backslash.
MAX_JSON_MEMBERS = 20_000
_TOO_DEEP = f"The JSON is nested deeper than {MAX_JSON_DEPTH} levels: send it flatter."


def read_json(body: bytes) -> Any:
    """Return the document in `body`.

    Raises:
        RequestMalformed: It is over a limit on shape.
        orjson.JSONDecodeError: It is not JSON.
    """
    brackets = body.count(b"[") + body.count(b"{")
    members = body.count(b'":') - body.count(b'\\":')
    if (
        brackets > MAX_JSON_BRACKETS
        or members > MAX_JSON_MEMBERS
        or body.count(b",") > MAX_JSON_COMMAS
    ):
        raise RequestMalformed("The JSON has too many lists and objects: send fewer.")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if error.msg == "depth limit exceeded":  # orjson's own, at 1024 levels
            raise RequestMalformed(_TOO_DEEP) from error
        raise
    if _is_deeper_than(document, MAX_JSON_DEPTH):
        raise RequestMalformed(_TOO_DEEP)
    return document


def _is_deeper_than(document: Any, levels: int) -> bool:
    if not isinstance(document, dict | list):
        return False
    if levels == 0:
        return True
    values = document.values() if isinstance(document, dict) else document
    return any(_is_deeper_than(value, levels - 1) for value in values)
