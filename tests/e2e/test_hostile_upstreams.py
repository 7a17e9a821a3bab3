"""A model server is untrusted input: whatever it sends has a typed outcome and costs no memory."""

import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.callers import CHAT, leaving_client
from tests.e2e.conftest import Site
from tests.e2e.workers import workers
from tests.fakes.loopback import json_body
from tests.fakes.model_server import Script

MIB = 1024 * 1024
EVENTS = "text/event-stream"
#: What a request may add to the worker's memory, however much it is sent.
MEMORY_BYTES = 32 * MIB
#: What a stream that nobody reads may hold.
STALLED_BYTES = 320 * 1024
CLOSED_WITHIN_S = 10  # all of them, with their buffers full


def chunk(text: str, finish_reason: str | None = None, **more: Any) -> bytes:
    """Return an event of a stream of a chat."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return b"data: " + json_body({"choices": [choice], **more}) + b"\n\n"


DONE = b"data: [DONE]\n\n"
BEGUN = chunk("Hello")
ZEROS = gzip.compress(bytes(64 * MIB))

#: Streams that are no answer at all: they have a status, told before any text.
NO_ANSWER = {
    "HTML": Script.html(),
    "gzip bomb": Script(body=ZEROS, headers={"Content-Encoding": "gzip"}, content_type=EVENTS),
    "redirect": Script.redirect("http://127.0.0.1:1/v1/chat/completions"),
    "endless line": Script(endless_line=True),
    "event of 40 MB": Script(body=(b"data: " + b"a" * 200_000 + b"\n") * 200, content_type=EVENTS),
    "comments without an end": Script(
        body=(b": " + b"a" * 200_000 + b"\n") * 90, content_type=EVENTS
    ),
    "JSON that is no object": Script(body=b"data: [1, 2]\n\n", content_type=EVENTS),
    "object of another shape": Script(body=b'data: {"answer": 42}\n\n', content_type=EVENTS),
    "choices of another shape": Script(
        body=b'data: {"choices": {"0": {}}}\n\n', content_type=EVENTS
    ),
    "invalid UTF-8": Script(
        body=b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n', content_type=EVENTS
    ),
    "deep JSON": Script(body=b"data: " + b"[" * 100_000 + b"\n\n", content_type=EVENTS),
    "nothing": Script(body=b"", content_type=EVENTS),
}
#: Whole answers that are none.
NO_WHOLE_ANSWER = {
    "HTML": Script.html(),
    "gzip bomb": Script(body=ZEROS, headers={"Content-Encoding": "gzip"}),
    "body of 40 MB": Script(body=b"a" * 40_000_000),
    "JSON that is no object": Script(body=b"[1, 2]"),
    "object of another shape": Script(body=b'{"answer": 42}'),
    "text that is no text": Script(body=b'{"choices": [{"message": {"content": {"a": 1}}}]}'),
    "invalid UTF-8": Script(body=b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
    "nothing": Script(body=b""),
}
#: Streams that go wrong after the first text.
BREAKS_OFF = {
    "event of 40 MB": Script(
        body=BEGUN + (b"data: " + b"a" * 200_000 + b"\n") * 200, content_type=EVENTS
    ),
    "more than a stream may hold": Script(
        body=BEGUN + chunk("a" * 100_000) * 400, content_type=EVENTS
    ),
    "a text of another type": Script(
        body=BEGUN + b'data: {"choices": [{"delta": {"content": 7}}]}\n\n', content_type=EVENTS
    ),
    "invalid UTF-8": Script(
        body=BEGUN + b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n', content_type=EVENTS
    ),
    "an end without a reason": Script(body=BEGUN, content_type=EVENTS),
    "a broken end": Script(body=BEGUN + b"data: [DON\n\n", content_type=EVENTS),
}


class Memory:
    """Of the one worker."""

    def __init__(self, site: Site) -> None:
        (worker,) = workers(site.gateway)
        self._process = Path(f"/proc/{worker}")
        (self._process / "clear_refs").write_text("5")  # forgets the peak so far
        self._before = self._bytes("VmRSS")

    @property
    def added_bytes(self) -> int:
        """How much more it ever took than at first."""
        return self._bytes("VmHWM") - self._before

    def _bytes(self, field: str) -> int:
        lines = (self._process / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


@pytest.fixture
def _memory_is_bounded(site: Site) -> Iterator[None]:
    memory = Memory(site)
    yield
    assert memory.added_bytes < MEMORY_BYTES


def events(text: str) -> list[Any]:
    *data, done = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    assert done == "[DONE]"
    return [json.loads(item) for item in data]


def said(stream: list[Any]) -> str:
    choices = [choice for event in stream for choice in event.get("choices", ())]
    return "".join(choice["delta"].get("content", "") for choice in choices)


@pytest.mark.usefixtures("_memory_is_bounded")
@pytest.mark.parametrize("script", NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_stream_that_is_no_answer_has_a_status(site: Site, script: Script) -> None:
    before = len(site.models.exchanges)
    site.models.answer_with(script)

    response = site.post(CHAT, stream=True)

    assert response.status_code == 502
    assert response.json()["error"]["code"] in {"upstream_bad_response", "upstream_truncated"}
    assert len(response.content) < 1000
    assert len(site.models.exchanges) - before == 1


@pytest.mark.usefixtures("_memory_is_bounded")
@pytest.mark.parametrize("script", NO_WHOLE_ANSWER.values(), ids=NO_WHOLE_ANSWER.keys())
def test_body_that_is_no_answer_has_a_status(site: Site, script: Script) -> None:
    site.models.answer_with(script)

    response = site.post(CHAT)

    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_bad_response"
    assert len(response.content) < 1000


@pytest.mark.usefixtures("_memory_is_bounded")
@pytest.mark.parametrize("script", BREAKS_OFF.values(), ids=BREAKS_OFF.keys())
def test_stream_that_goes_wrong_ends_in_an_error_event(site: Site, script: Script) -> None:
    site.models.answer_with(script)

    *good, last = events(site.post(CHAT, stream=True).text)

    assert said(good).startswith("Hello")
    assert last["error"]["code"] in {"upstream_bad_response", "upstream_truncated"}


@pytest.mark.parametrize(
    "rest",
    [DONE, chunk(" again"), chunk(" again", "stop") + DONE, b"data: {not json\n\n", b"\xff" * 999],
    ids=["a second end", "more text", "a second answer", "no JSON", "noise"],
)
def test_what_comes_after_the_end_is_not_heard(site: Site, rest: bytes) -> None:
    body = BEGUN + chunk("", "stop") + DONE + rest
    site.models.answer_with(Script(body=body, content_type=EVENTS))

    stream = events(site.post(CHAT, stream=True).text)

    assert said(stream) == "Hello"
    assert [event for event in stream if "error" in event] == []


def test_numbers_of_tokens_that_are_none_are_not_counted(site: Site) -> None:
    usage = {"prompt_tokens": -5, "completion_tokens": 1e99, "total_tokens": "many"}
    site.models.answer_with(
        Script(body=BEGUN + chunk("", "stop", usage=usage) + DONE, content_type=EVENTS)
    )

    response = site.post(CHAT, stream=True, stream_options={"include_usage": True})

    assert said(events(response.text)) == "Hello"
    logged = site.logged(response)
    assert (logged["input_tokens"], logged["output_tokens"]) == (None, None)


def test_stream_without_an_end_goes_no_faster_than_it_is_read(site: Site) -> None:
    readers = 20
    site.models.answer_with(Script(chunks=("a" * 10_000,), never_ends=True))
    seen = len(site.models.exchanges)
    memory = Memory(site)
    with ExitStack() as stack:
        for _ in range(readers):
            stack.enter_context(leaving_client(site.url, CHAT, site.headers, stream=True))
        exchanges = [site.models.wait_for_request(seen + number) for number in range(readers)]
        sent = -1
        while sent != (sent := sum(exchange.sent_events for exchange in exchanges)):
            assert not exchanges[0].closed_by_peer.wait(0.3)  # held back, not closed
        added = memory.added_bytes

    assert added < readers * STALLED_BYTES
    assert all(exchange.closed_by_peer.wait(CLOSED_WITHIN_S) for exchange in exchanges)
