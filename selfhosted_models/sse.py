"""Server-sent events, taken apart: pure, incremental, bounded.

Source: HTML standard, section 9.2 (server-sent events), 9.2.6 for the grammar.
"""

import re

MAX_LINE_BYTES = 256 * 1024
MAX_EVENT_BYTES = 1024 * 1024

_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventTooLarge(ValueError):
    """A line or an event is over its limit."""


class EventSplitter:
    """Turns bytes, cut anywhere, into the `data` of whole events.

    Lines may end in LF, CR or CRLF; comments and the `event`, `id` and `retry` fields are passed
    over; several `data` lines are joined by a newline. Bytes are decoded by nobody here, so a
    character cut in two is whole again in the event.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # pieces of the unfinished line; joined only when it ends
        self._rest_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._is_first_line = True

    def feed(self, part: bytes) -> list[bytes]:
        """Return the data of the events that `part` completes.

        Raises:
            EventTooLarge: A line is over 256 KiB, or an event over 1 MiB.
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
        if len(rest) > MAX_LINE_BYTES:
            raise EventTooLarge("line")
        self._rest, self._rest_bytes = [rest], len(rest)
        return [data for line in lines if (data := self._take(line)) is not None]

    def flush(self) -> list[bytes]:
        """Return the event the stream ended in, for servers that leave out the last blank line."""
        line = b"".join(self._rest).removesuffix(b"\r")
        self._rest, self._rest_bytes = [], 0
        ended = [self._take(line), self._take(b"")]
        return [data for data in ended if data is not None]

    def _has_no_line_end(self, part: bytes) -> bool:
        ended_in_cr = len(self._rest) > 1 and self._rest[-2].endswith(b"\r")
        return not ended_in_cr and b"\n" not in part and b"\r" not in part

    def _take(self, line: bytes) -> bytes | None:
        if len(line) > MAX_LINE_BYTES:
            raise EventTooLarge("line")
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
