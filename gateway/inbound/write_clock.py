"""Sending to a client that may have stopped reading."""

import asyncio
from types import TracebackType
from typing import Self

from gateway.inbound.bodies import Message, Send

#: A stream that was silent for so long is sent its heartbeat.
HEARTBEAT_AFTER_S = 15.0
#: A client that takes nothing for so long holds a model server's slot for nothing.
WRITE_STALL_S = 20.0
LOOK_EVERY_S = 1.0


class ClientStalled(Exception):
    """The client does not read what it asked for."""


class WriteClock:
    """Sends, and ends the block with `ClientStalled` when one message is not taken in time.

    One timer looks once a second; a time-out around each message would cost more than sending it.
    """

    def __init__(self, send: Send, heartbeat: bytes = b"") -> None:
        self._send = send
        self._heartbeat = heartbeat
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._is_sending = False
        self._since = self._loop.time()
        self._beat: asyncio.Future[None] | None = None

    async def __call__(self, message: Message) -> None:
        self._is_sending = True
        self._since = self._loop.time()
        await self._send(message)
        self._is_sending = False

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._beat is not None:
            self._beat.cancel()
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError as stalled:
            raise ClientStalled from stalled

    def _look(self) -> None:
        now = self._loop.time()
        silent_s = now - self._since
        if self._is_sending and silent_s >= WRITE_STALL_S:
            self._timeout.reschedule(now)
            return
        if self._heartbeat and not self._is_sending and silent_s >= HEARTBEAT_AFTER_S:
            message = {"type": "http.response.body", "body": self._heartbeat, "more_body": True}
            self._beat = asyncio.ensure_future(self(message))
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)
