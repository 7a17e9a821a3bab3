"""The HTTP protocol of the workers: uvicorn's, with limits on what it would take without end."""

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
#: Of one request, beside its body: head, chunk sizes, trailers.
MAX_FRAMING_BYTES = 64 * 1024
HEAD_WITHIN_S = 10.0


class HeadTooLarge(ValueError):
    """Raised through the parser, which ends the connection."""


class LimitedProtocol(HttpToolsProtocol):
    """Refuses a head that is too large or too slow, and trailers without an end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._framing_bytes = self._head_bytes = 0
        self._is_too_large = False
        self._head_clock: asyncio.TimerHandle | None = None
        self._start_head_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._framing_bytes += len(data)  # on_body takes off what was body
        super().data_received(data)
        if self._framing_bytes > MAX_FRAMING_BYTES and not self.transport.is_closing():
            self._is_too_large = True
            self.send_400_response("")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._framing_bytes = self._head_bytes = 0
        if self._head_clock is None:
            self._start_head_clock()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._count(MAX_HEAD_BYTES)

    def on_headers_complete(self) -> None:
        self._stop_head_clock()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body)
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, or is too large to be."""
        if not self._is_too_large:
            super().send_400_response(msg)
            return
        text = f"The request's headers are larger than {MAX_HEAD_BYTES // 1024} KiB.".encode()
        head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
        length = b"content-length: %d\r\n\r\n" % len(text)
        self.transport.write(STATUS_LINE[431] + head + length + text)
        self.transport.close()

    def _count(self, head_bytes: int) -> None:
        self._head_bytes += head_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            self._is_too_large = True
            raise HeadTooLarge

    def _start_head_clock(self) -> None:
        self._head_clock = self.loop.call_later(HEAD_WITHIN_S, self._give_up)

    def _stop_head_clock(self) -> None:
        if self._head_clock is not None:
            self._head_clock.cancel()
            self._head_clock = None

    def _give_up(self) -> None:
        self._head_clock = None
        self.transport.close()
