"""Sending to a client that may have stopped reading."""

import asyncio
from types import TracebackType
from typing import Self

from gateway.bodies import Message, Send

#: A client that takes nothing for so long holds a model server's slot for nothing.
WRITE_STALL_S = 20.0
LOOK_EVERY_S = 1.0


class ClientStalled(Exception):
    """The client does not read what it asked for."""


class WriteClock:
    """Sends, and ends the block with `ClientStalled` when one message is not taken in time.

    One timer looks once a second; a time-out around each message would cost more than sending it.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._sending_since: float | None = None

    async def __call__(self, message: Message) -> None:
        self._sending_since = self._loop.time()
        await self._send(message)
        self._sending_since = None

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
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError as stalled:
            raise ClientStalled from stalled

    def _look(self) -> None:
        now = self._loop.time()
        if self._sending_since is not None and now - self._sending_since >= WRITE_STALL_S:
            self._timeout.reschedule(now)
        else:
            self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)
