"""Event streams as servers and networks really cut them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfhosted_models.framing import (
    MAX_EVENT_BYTES,
    MAX_LINE_BYTES,
    BodySplitter,
    EventSplitter,
    EventTooLarge,
    LineSplitter,
    Splitter,
)

STREAM = (
    "\ufeff: welcome\n\n"
    'data: {"text": "Grüße, 世界 🦊"}\r\n\r\n'
    "event: delta\rid: 7\rdata:no space\r\r"
    "retry: 10\ndata: first\r\ndata:  second\rdata\n\n"
    ":\n\n\n"
    "data: [DONE]\n\n"
).encode()
EVENTS = [
    '{"text": "Grüße, 世界 🦊"}'.encode(),
    b"no space",
    b"first\n second\n",
    b"[DONE]",
]


def split(*parts: bytes, splitter: Splitter | None = None) -> list[bytes]:
    """Return the events of a stream that came in these parts and ended."""
    splitter = splitter or EventSplitter()
    events = [event for part in parts for event in splitter.feed(part)]
    return [*events, *splitter.flush()]


@st.composite
def cut(draw: st.DrawFn, stream: bytes = STREAM) -> list[bytes]:
    """Return `stream` in pieces, some of them empty."""
    places = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    edges = [0, *places, len(stream)]
    return [stream[start:end] for start, end in zip(edges, edges[1:], strict=False)]


def test_whole_stream_is_split() -> None:
    assert split(STREAM) == EVENTS


@given(cut())
def test_stream_cut_anywhere_gives_the_same_events(parts: list[bytes]) -> None:
    assert split(*parts) == EVENTS


def test_stream_of_single_bytes_gives_the_same_events() -> None:
    assert split(*(STREAM[place : place + 1] for place in range(len(STREAM)))) == EVENTS


LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
TEXTS = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=20)


@given(st.data(), st.lists(st.lists(TEXTS, min_size=1, max_size=3), max_size=5))
def test_any_text_in_any_line_ends_comes_back(
    data: st.DataObject, written: list[list[str]]
) -> None:
    stream = b""
    for lines in written:
        for line in lines:
            stream += b"data: " + line.encode() + data.draw(LINE_ENDS)
        # A lone CR before this LF would be one line end with it.
        stream += b"\n\n" if stream.endswith(b"\r") else data.draw(LINE_ENDS)

    parts = data.draw(cut(stream))

    assert split(*parts) == ["\n".join(lines).encode() for lines in written]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_event_is_given_out_with_its_blank_line(end: str) -> None:
    splitter = EventSplitter()

    assert splitter.feed(f"data: a{end}".encode()) == []
    assert splitter.feed(end.encode()[:1] + end.encode()[1:]) == [b"a"]


def test_crlf_cut_in_two_is_one_line_end() -> None:
    splitter = EventSplitter()

    parts = [b"data: a\r", b"", b"\ndata: b\r\n\r", b"\n"]

    assert [splitter.feed(part) for part in parts] == [[], [], [], [b"a\nb"]]


def test_mark_at_the_start_is_passed_over_and_later_belongs_to_the_text() -> None:
    stream = "\ufeffdata: \ufeffa\n\n\ufeffdata: b\n\n".encode()

    assert split(stream) == ["\ufeffa".encode()]


@pytest.mark.parametrize(
    "line", [b": comment", b"event: x", b"id: 1", b"retry: 5", b"Data: x", b" data: x", b"datum: x"]
)
def test_lines_that_are_not_data_make_no_event(line: bytes) -> None:
    assert split(line + b"\n\n") == []


def test_only_one_space_after_the_colon_is_dropped() -> None:
    assert split(b"data:  two\n\ndata:none\n\ndata:\ttab\n\n") == [b" two", b"none", b"\ttab"]


def test_colons_in_the_value_stay() -> None:
    assert split(b"data: a: b:c\n\n") == [b"a: b:c"]


@pytest.mark.parametrize("line", [b"data", b"data:", b"data: "])
def test_data_without_text_is_an_empty_event(line: bytes) -> None:
    assert split(line + b"\n\n") == [b""]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n", b"\n\r"])
def test_flush_gives_out_the_event_the_stream_ended_in(end: bytes) -> None:
    assert split(b"data: a\ndata: b" + end) == [b"a\nb"]


def test_flush_of_a_finished_stream_gives_nothing() -> None:
    splitter = EventSplitter()
    splitter.feed(b"data: a\n\n")

    assert splitter.flush() == []
    assert splitter.flush() == []


def test_line_at_the_limit_is_taken() -> None:
    text = b"a" * (MAX_LINE_BYTES - len(b"data: "))

    assert split(b"data: " + text + b"\n\n") == [text]


def test_line_over_the_limit_is_refused() -> None:
    with pytest.raises(EventTooLarge, match="line"):
        EventSplitter().feed(b"a" * (MAX_LINE_BYTES + 1) + b"\n")


def test_line_that_does_not_end_is_refused_before_it_is_whole() -> None:
    splitter = EventSplitter()
    splitter.feed(b"data: " + b"a" * (MAX_LINE_BYTES - 6))

    with pytest.raises(EventTooLarge, match="line"):
        splitter.feed(b"a")


def test_comment_that_does_not_end_is_refused_too() -> None:
    with pytest.raises(EventTooLarge, match="line"):
        EventSplitter().feed(b":" * (MAX_LINE_BYTES + 1))


def test_event_at_the_limit_is_taken() -> None:
    line = b"data:" + b"a" * 65_535 + b"\n"  # 65,536 bytes of the event with its line end

    events = split(line * (MAX_EVENT_BYTES // 65_536) + b"\n")

    assert [len(event) for event in events] == [MAX_EVENT_BYTES - 1]


def test_event_over_the_limit_is_refused() -> None:
    line = b"data:" + b"a" * 65_535 + b"\n"
    splitter = EventSplitter()
    splitter.feed(line * (MAX_EVENT_BYTES // 65_536))

    with pytest.raises(EventTooLarge, match="event"):
        splitter.feed(b"data:\n")


def test_limit_of_events_is_counted_for_each_anew() -> None:
    line = b"data:" + b"a" * 65_535 + b"\n"
    event = line * (MAX_EVENT_BYTES // 65_536) + b"\n"

    assert len(split(event * 3)) == 3


LINES = '{"text": "Grüße, "}\n{"text": "世界 🦊"}\r\n\n\r\n{"done": true}\r{"more": 1}'.encode()
LINE_EVENTS = [
    '{"text": "Grüße, "}'.encode(),
    '{"text": "世界 🦊"}'.encode(),
    b'{"done": true}',
    b'{"more": 1}',
]


@given(cut(LINES))
def test_lines_cut_anywhere_are_the_same_events(parts: list[bytes]) -> None:
    assert split(*parts, splitter=LineSplitter()) == LINE_EVENTS


def test_line_is_given_out_with_its_end() -> None:
    assert LineSplitter().feed(b'{"a": 1}\n{"b"') == [b'{"a": 1}']


def test_line_that_never_ends_is_refused_in_lines_too() -> None:
    with pytest.raises(EventTooLarge, match="line"):
        LineSplitter().feed(b"a" * (MAX_LINE_BYTES + 1))


@given(cut(LINES))
def test_body_is_one_event_however_it_was_cut(parts: list[bytes]) -> None:
    assert split(*parts, splitter=BodySplitter()) == [LINES]


def test_empty_body_is_no_event() -> None:
    assert split(b"", splitter=BodySplitter()) == []


def test_body_is_bounded_as_an_event_is() -> None:
    splitter = BodySplitter()
    splitter.feed(b"a" * MAX_EVENT_BYTES)

    with pytest.raises(EventTooLarge, match="event"):
        splitter.feed(b"a")
