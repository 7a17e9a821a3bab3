"""How bytes on the wire become whole events: pure, incremental, bounded.

A serving format names the media types its answers may have, and the splitter that cuts each into
events. Nothing here decodes bytes, so a character cut in two is whole again in the event.
"""

import re
from collections.abc import Callable, Mapping
from typing import Protocol

MAX_LINE_BYTES = 256 * 1024
MAX_EVENT_BYTES = 1024 * 1024

_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventTooLarge(ValueError):
    """A line or an event is over its limit."""


class Splitter(Protocol):
    """Turns bytes, cut anywhere, into whole events."""

    def feed(self, part: bytes) -> list[bytes]:
        """Return the events that `part` completes.

        Raises:
            EventTooLarge: A line is over 256 KiB, or an event over 1 MiB.
        """

    def flush(self) -> list[bytes]:
        """Return the event the stream ended in, for servers that leave out its end.

        Raises:
            EventTooLarge: As above.
        """


#: Which media types an answer may have, and what cuts a body of each.
Framings = Mapping[str, Callable[[], Splitter]]


class LineSplitter:
    """One event a line, as in newline-delimited JSON; lines may end in LF, CR or CRLF.

    Empty lines are passed over.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # pieces of the unfinished line; joined only when it ends
        self._rest_bytes = 0

    def feed(self, part: bytes) -> list[bytes]:
        return [line for line in self.lines(part) if line]

    def flush(self) -> list[bytes]:
        line = self.last_line()
        return [line] if line else []

    def lines(self, part: bytes) -> list[bytes]:
        """Return the lines that `part` completes, without their ends.

        Raises:
            EventTooLarge: A line is over 256 KiB.
        """
        self._rest_bytes += len(part)
        self._rest.append(part)
        if self._has_no_line_end(part):
            if self._rest_bytes > MAX_LINE_BYTES:
                raise EventTooLarge("line")
            return []
        text = b"".join(self._rest)
        lines = _LINE_END.split(text)
        rest = lines.pop()
        # A CR at the very end may be the first half of a CRLF: wait for the byte after it.
        if text.endswith(b"\r"):
            rest = lines.pop() + b"\r"
        self._rest, self._rest_bytes = [rest], len(rest)
        if len(text) > MAX_LINE_BYTES and max(map(len, (rest, *lines))) > MAX_LINE_BYTES:
            raise EventTooLarge("line")
        return lines

    def last_line(self) -> bytes:
        """Return the line the stream ended in; empty where the last line had its end."""
        line = b"".join(self._rest).removesuffix(b"\r")
        self._rest, self._rest_bytes = [], 0
        return line

    def _has_no_line_end(self, part: bytes) -> bool:
        ended_in_cr = len(self._rest) > 1 and self._rest[-2].endswith(b"\r")
        return not ended_in_cr and b"\n" not in part and b"\r" not in part


class EventSplitter:
    """The `data` of server-sent events.

    Lines may end in LF, CR or CRLF; comments and the `event`, `id` and `retry` fields are passed
    over; several `data` lines are joined by a newline.

    Source: HTML standard, section 9.2 (server-sent events), 9.2.6 for the grammar.
    """

    def __init__(self) -> None:
        self._lines = LineSplitter()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._is_first_line = True

    def feed(self, part: bytes) -> list[bytes]:
        return [data for line in self._lines.lines(part) if (data := self._take(line)) is not None]

    def flush(self) -> list[bytes]:
        ended = [self._take(self._lines.last_line()), self._take(b"")]
        return [data for data in ended if data is not None]

    def _take(self, line: bytes) -> bytes | None:
        if self._is_first_line:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._is_first_line = False
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        if field == b"data":
            value = value.removeprefix(b" ")
            self._data_bytes += len(value) + 1
            if self._data_bytes > MAX_EVENT_BYTES:
                raise EventTooLarge("event")
            self._data.append(value)
        return None

    def _dispatch(self) -> bytes | None:
        if not self._data:
            return None
        data = b"\n".join(self._data)
        self._data = []
        self._data_bytes = 0
        return data


class BodySplitter:
    """The whole body as one event: what a server answers that does not stream, or an error."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0

    def feed(self, part: bytes) -> list[bytes]:
        self._parts.append(part)
        self._bytes += len(part)
        if self._bytes > MAX_EVENT_BYTES:
            raise EventTooLarge("event")
        return []

    def flush(self) -> list[bytes]:
        body = b"".join(self._parts)
        self._parts, self._bytes = [], 0
        return [body] if body else []


SERVER_SENT_EVENTS: Framings = {
    "text/event-stream": EventSplitter,
    "application/json": BodySplitter,
}
JSON_LINES: Framings = {"application/x-ndjson": LineSplitter, "application/json": BodySplitter}
