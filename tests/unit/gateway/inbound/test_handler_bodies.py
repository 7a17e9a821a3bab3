"""Bodies as they come: too large, too slow, too deep, not JSON."""

import copy
from typing import Any

import orjson
import pytest

from gateway.inbound.bodies import BODY_WITHIN_S
from gateway.inbound.handler import MAX_BODY_BYTES
from tests.unit.gateway import virtual_time
from tests.unit.gateway.asgi import Answer
from tests.unit.gateway.inbound.test_handler import BODY, COMPLETIONS, client, signed


async def post(content: bytes, **more: str) -> Answer:
    return await client().post(COMPLETIONS, {**signed(), **more}, parts=(content,))


def body_of(size: int) -> bytes:
    """Return a good body of exactly `size` bytes."""
    body: dict[str, Any] = {**copy.deepcopy(BODY), "context": []}
    empty = {"type": "file", "name": "n", "content": ""}
    room = size - len(orjson.dumps(body))
    while room > 0:
        frame = len(orjson.dumps(empty)) + (1 if body["context"] else 0)
        text = min(500_000, room - frame)
        if 0 < room - frame - text <= frame:
            text -= frame
        body["context"].append({**empty, "content": "x" * text})
        room = size - len(orjson.dumps(body))
    return orjson.dumps(body)


# --- Size and time -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3 * 1024 * 1024, MAX_BODY_BYTES])
@pytest.mark.parametrize("declared", [True, False])
async def test_body_up_to_the_limit_is_served(size: int, declared: bool) -> None:
    content = body_of(size)

    answer = await post(content, **({"content-length": str(size)} if declared else {}))

    assert (len(content), answer.status) == (size, 200)


async def test_declared_size_over_the_limit_is_refused_unread() -> None:
    call = client().call(
        "POST",
        COMPLETIONS,
        {**signed(), "content-length": str(MAX_BODY_BYTES + 1)},
        parts=(b"unread",),
    )

    answer = await call.run()

    assert answer.status == 413
    assert answer.headers["connection"] == "close"
    assert call.parts == [b"unread"]


@pytest.mark.parametrize("declared", [None, "10", "ten"])
async def test_body_is_counted_whatever_was_declared(declared: str | None) -> None:
    parts = (b"x" * 1024 * 1024,) * 6
    length = {"content-length": declared} if declared else {}
    call = client().call("POST", COMPLETIONS, {**signed(), **length}, parts=parts)

    answer = await call.run()

    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert len(call.parts) == 1  # the fifth part was the one too many


async def test_body_of_a_stranger_is_not_read() -> None:
    call = client().call("POST", COMPLETIONS, {}, parts=(b"unread",))

    answer = await call.run()

    assert answer.status == 401
    assert call.parts == [b"unread"]


async def test_size_is_told_in_the_dialect_of_the_path() -> None:
    sent = {**signed(), "content-length": str(MAX_BODY_BYTES + 1)}

    answer = await client().post("/openai/v1/chat/completions", sent)

    assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")


def test_body_that_does_not_arrive_in_time_is_refused() -> None:
    call = client().call("POST", COMPLETIONS, signed(), parts=(b"{", None))

    answer = virtual_time.run(call.run())

    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert answer.json["detail"].startswith(f"The body did not arrive within {BODY_WITHIN_S:g}")


async def test_body_in_many_parts_is_one_body() -> None:
    content = orjson.dumps(BODY)
    parts = [content[start : start + 7] for start in range(0, len(content), 7)]

    answer = await client().post(COMPLETIONS, signed(), parts=parts)

    assert answer.status == 200


# --- JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"{'prompt_version': 2}",
        b'{"prompt_version": NaN}',
        b'{"prompt_version": Infinity}',
        b'{"prompt_version": ' + b"9" * 400 + b"}",
        b'{"prompt_version": "\xff\xfe"}',
        b'{"prompt_version": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"\0",
        b"prompt_version=2",
        b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
    ],
)
async def test_what_is_not_json_is_told_with_its_place(content: bytes) -> None:
    answer = await post(content)

    assert answer.status == 422
    (item,) = answer.json["detail"]
    assert (item["type"], item["msg"]) == ("json_invalid", "JSON decode error")
    assert item["loc"][0] == "body"
    assert isinstance(item["loc"][1], int)


@pytest.mark.parametrize("content", [b"", b"null"])
async def test_absent_body_is_missing(content: bytes) -> None:
    answer = await post(content)

    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body"]


@pytest.mark.parametrize("depth", [65, 1000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
async def test_json_nested_too_deep_is_refused(opening: bytes, closing: bytes, depth: int) -> None:
    answer = await post(opening * depth + (b"1" if b":" in opening else b"") + closing * depth)

    assert (answer.status, answer.json["code"]) == (400, "request_malformed")


@pytest.mark.parametrize("value", ["1e400", "-1e400", "99999999999999999999", "1.5", '"9e9"'])
async def test_odd_numbers_are_a_callers_error(value: str) -> None:
    content = orjson.dumps(BODY).replace(b"{", b'{"choices_count":' + value.encode() + b",", 1)

    answer = await post(content)

    assert answer.status == 422


async def test_number_as_long_text_is_not_repeated_in_full() -> None:
    answer = await post(orjson.dumps({**BODY, "choices_count": "9" * 5000}))

    assert answer.status == 422
    assert len(answer.body) < 1000


async def test_callers_words_are_not_repeated_in_full() -> None:
    answer = await post(orjson.dumps({**BODY, "prompt_version": "x" * 100_000}))

    assert answer.json["detail"][0]["type"] == "union_tag_invalid"
    assert len(answer.body) < 2000


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=klingon",
        "application/json; charset=utf-16",
    ],
)
async def test_body_is_read_as_json_whatever_it_says_it_is(content_type: str) -> None:
    answer = await post(orjson.dumps(BODY), **{"content-type": content_type})

    assert answer.status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"model_api_key": ["SENTINEL"]},
        {"model_api_key": {"key": "SENTINEL"}},
        {"model_api_key": 7, "model_name": "SENTINEL" * 10},
        {"current_file": {"file_name": "a.py", "content_above_cursor": "SENTINEL"}},
        {"current_file": "a.py", "model_api_key": "SENTINEL"},
    ],
)
async def test_error_echoes_neither_keys_nor_what_stands_beside_the_fault(wrong: Any) -> None:
    answer = await post(orjson.dumps({**BODY, **wrong}))

    assert answer.status == 422
    shown = [item["input"] for item in answer.json["detail"] if "model_name" not in item["loc"]]
    assert "SENTINEL" not in repr(shown)
