"""A TCP proxy that breaks on demand: what a network does to a server that is itself fine.

    with ModelServer() as server, FaultProxy(server.url) as network:
        network.break_with("reset", after=b"world")
        ...  # point the code under test at network.url
        network.heal()

It knows bytes only, so it also stands before PostgreSQL and Valkey.
"""

import asyncio
import socket
import struct
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tests.fakes.loopback import LoopbackService

Kind = Literal["refuse", "black_hole", "hang", "drip", "slow", "cut", "reset", "corrupt"]
TAKES_EFFECT_WITHIN_S = 5.0
PART_BYTES = 65_536
#: States of /proc/net/tcp, as hexadecimal text.
SYN_SENT = "02"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong.

    Attributes:
        kind: `refuse`: nobody listens, and every open connection is reset. `black_hole`: the same,
            and no SYN is answered. The others are of the answer: `hang`: no more of it comes.
            `drip`: it comes byte by byte, each after `gap_s`. `slow`: each part of it comes after
            `gap_s`. `cut`: the connection ends with a FIN; `reset`: with a RST. `corrupt`: every
            bit of it is turned round.
        after: What has to pass before, on a connection; empty: nothing of the answer does.
        gap_s: See `kind`.
    """

    kind: Kind
    after: bytes = b""
    gap_s: float = 0.0

    @property
    def is_of_listening(self) -> bool:
        return self.kind in {"refuse", "black_hole"}


class FaultProxy(LoopbackService):
    """Relays to `upstream`, with one fault at a time or none.

    Args:
        upstream: A URL; its host and port are dialled for each connection.

    Attributes:
        accepted: Connections so far.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__()
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._fault: Fault | None = None
        self._port = 0
        self._listener: socket.socket | None = None
        self._filler: socket.socket | None = None
        self._relaying: set[asyncio.Task[None]] = set()
        self._clients: set[socket.socket] = set()
        self.accepted = 0

    @property
    def port(self) -> int:
        return self._port

    def break_with(self, kind: Kind, *, after: bytes = b"", gap_s: float = 0.0) -> None:
        """Have this fault from now on, on open connections too. Returns once it is in effect."""
        self._wait_for(self._change(Fault(kind, after, gap_s)))

    def heal(self) -> None:
        """Have no fault from now on. Connections that hung are reset: nobody waits for ever."""
        self._wait_for(self._change(None))

    def unanswered_dials(self) -> int:
        """Return how many sockets of this machine wait for this port to answer their SYN."""
        place = f":{self._port:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[2].endswith(place) and row[3] == SYN_SENT for row in rows)

    async def open(self) -> int:
        self._listen()
        return self._port

    async def aclose(self) -> None:
        self._stop_listening()
        await self._end_connections()

    def _wait_for(self, change: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(change, self._loop).result(TAKES_EFFECT_WITHIN_S)

    async def _change(self, fault: Fault | None) -> None:
        before, self._fault = self._fault, fault
        if fault is not None and fault.is_of_listening:
            self._stop_listening()
            await self._end_connections()
            if fault.kind == "black_hole":
                self._fill()
        elif before is not None and before.is_of_listening:
            self._stop_listening()
            self._listen()
        elif before is not None and before.kind == "hang":
            await self._end_connections()

    # Listening.

    def _bind(self, backlog: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.setblocking(False)
        listener.listen(backlog)
        self._port = listener.getsockname()[1]
        return listener

    def _listen(self) -> None:
        self._listener = self._bind(128)
        self._loop.add_reader(self._listener, self._accept, self._listener)

    def _fill(self) -> None:
        """Listen with room for one connection that nobody accepts, and take that room."""
        self._listener = self._bind(0)
        self._filler = socket.create_connection(("127.0.0.1", self._port))

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
        for opened in (self._listener, self._filler):
            if opened is not None:
                opened.close()
        self._listener = self._filler = None

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionError):
            client, _ = listener.accept()
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            task = self._loop.create_task(self._relay(client))
            self._relaying.add(task)
            task.add_done_callback(self._relaying.discard)
            task.add_done_callback(lambda _: client.close())  # also if it never began

    # Relaying.

    async def _end_connections(self) -> None:
        for client in self._clients:
            _reset_when_closed(client)
        for task in self._relaying:
            task.cancel()
        if self._relaying:
            await asyncio.wait(self._relaying)

    async def _relay(self, client: socket.socket) -> None:
        """Relay both ways until either side is done; then both connections are closed."""
        server = socket.socket()
        server.setblocking(False)
        self._clients.add(client)
        try:
            await self._loop.sock_connect(server, self._upstream)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ways = {
                asyncio.create_task(self._relay_requests(client, server)),
                asyncio.create_task(self._relay_answers(server, client)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways)
        except ConnectionError:
            _reset_when_closed(client)
        finally:
            self._clients.discard(client)
            server.close()

    async def _relay_requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while part := await self._loop.sock_recv(client, PART_BYTES):
                await self._loop.sock_sendall(server, part)

    async def _relay_answers(self, server: socket.socket, client: socket.socket) -> None:
        """Relay until the server is done, or the fault ends it."""
        fault: Fault | None = None
        passed, is_broken = b"", False
        try:
            while part := await self._loop.sock_recv(server, PART_BYTES):
                if self._fault is not fault:
                    fault, passed, is_broken = self._fault, b"", False
                if fault is not None and not is_broken:
                    whole = passed + part
                    start = whole.find(fault.after)
                    is_broken = start >= 0
                    good = start + len(fault.after) - len(passed) if is_broken else len(part)
                    await self._loop.sock_sendall(client, part[:good])
                    passed, part = whole[-len(fault.after) :], part[good:]
                if fault is None:
                    await self._loop.sock_sendall(client, part)
                elif is_broken and not await self._send_broken(client, part, fault):
                    return
        except ConnectionResetError:
            _reset_when_closed(client)
        except OSError:
            pass  # the client has gone

    async def _send_broken(self, client: socket.socket, part: bytes, fault: Fault) -> bool:
        """Send `part` as the fault would; return whether the connection lives on."""
        if fault.kind == "hang":
            await asyncio.Event().wait()  # cancelled once the client leaves
        if fault.kind == "reset":
            _reset_when_closed(client)
        if fault.kind in {"reset", "cut"}:
            return False
        if fault.kind == "corrupt":
            part = bytes(byte ^ 0xFF for byte in part)
        size = 1 if fault.kind == "drip" else PART_BYTES
        for start in range(0, len(part), size):
            await asyncio.sleep(fault.gap_s)
            await self._loop.sock_sendall(client, part[start : start + size])
        return True


def _reset_when_closed(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
