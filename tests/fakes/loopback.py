"""A tiny HTTP/1.1 server on loopback, in a thread of the test process: what the fakes stand on.

It works below ASGI because tests ask what an ASGI server hides: whether and when the other side
closed the connection, also while we send nothing, and how the bytes were cut into packets.
"""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Self, cast
from urllib.parse import parse_qsl

import httptools

REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
STARTED_WITHIN_S = 5.0


class Request:
    """A request as it arrived.

    Attributes:
        method: GET, POST, …
        path: Without the query.
        query: Its fields; of repeated ones the last.
        headers: Names in lower case; the last of repeated ones.
        body: Whole body.
    """

    def __init__(self, method: str, url: bytes, headers: dict[str, str], body: bytes) -> None:
        parsed = httptools.parse_url(url)
        self.method = method
        self.path = parsed.path.decode("latin-1")
        self.query = dict(parse_qsl((parsed.query or b"").decode("latin-1")))
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """The body as JSON; None when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Connection(asyncio.Protocol):
    """One connection from the code under test; requests on it are answered one after the other."""

    def __init__(self, respond: Callable[[Request, "Connection"], Awaitable[None]]) -> None:
        self.peer_closed = asyncio.Event()
        self.on_peer_closed: Callable[[], None] = lambda: None
        self.transport: asyncio.Transport
        self._respond = respond
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = b""
        self._requests: asyncio.Queue[Request] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._chunked = False
        self._closed_by_us = False
        self._writable = asyncio.Event()
        self._writable.set()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        peer: socket.socket = transport.get_extra_info("socket")
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def eof_received(self) -> None:
        self._note_peer_closed()

    def connection_lost(self, error: Exception | None) -> None:
        self._note_peer_closed()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _note_peer_closed(self) -> None:
        if not self._closed_by_us and not self.peer_closed.is_set():
            self.peer_closed.set()
            self.on_peer_closed()

    # What httptools calls.

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", {}, b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode("latin-1")
        self._requests.put_nowait(Request(method, self._url, self._headers, self._body))

    # What the fakes call.

    def send_head(
        self,
        status: int,
        headers: Mapping[str, str],
        *,
        content_length: int | None = None,
    ) -> None:
        """Send status and headers; the body is chunked when its length is not given."""
        self._chunked = content_length is None
        length = "Transfer-Encoding: chunked"
        if content_length is not None:
            length = f"Content-Length: {content_length}"
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", length]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def send(self, data: bytes) -> None:
        """Send a piece of the body; as one HTTP chunk when the body is chunked."""
        if self._chunked:
            data = f"{len(data):x}\r\n".encode() + data + b"\r\n"
        self.transport.write(data)

    async def drain(self) -> None:
        """Wait while the peer reads more slowly than we write."""
        await self._writable.wait()

    def end(self) -> None:
        """End the body; the connection stays open for the next request."""
        if self._chunked:
            self.transport.write(b"0\r\n\r\n")

    def close(self) -> None:
        """Close with a FIN: what was sent before still arrives."""
        self._closed_by_us = True
        self.transport.close()

    def reset(self) -> None:
        """Close with a RST: the peer's next read fails."""
        if self.transport.is_closing():
            return
        self._closed_by_us = True
        peer: socket.socket = self.transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def _serve(self) -> None:
        while not self.transport.is_closing():
            await self._respond(await self._requests.get(), self)


class LoopbackService:
    """Listens on a port of 127.0.0.1, in a thread of its own, while its `with` block lasts.

    Attributes:
        url: Where it is, without a final slash.
    """

    url: str

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._failures: list[Exception] = []
        self._started: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    async def open(self) -> int:
        """Begin to listen, in the thread; return the port."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Stop listening, in the thread, and end every connection."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = self.base_url(f"http://127.0.0.1:{self._started.result(STARTED_WITHIN_S)}")
        return self

    def base_url(self, origin: str) -> str:
        """Return the URL to give out for this origin; a subclass may add a path."""
        return origin

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._failures:
            raise self._failures[0]

    def call(self, function: Callable[[], object]) -> None:
        """Have the thread call `function`. Harmless once it has stopped."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.set_result(await self.open())
        await self._stop.wait()
        await self.aclose()


class LoopbackServer(LoopbackService):
    """Answers HTTP; subclasses say what."""

    def __init__(self) -> None:
        super().__init__()
        self._server: asyncio.Server
        self._connections: list[Connection] = []

    async def respond(self, request: Request, connection: Connection) -> None:
        """Answer one request. Called in the server's thread; cancelled once the peer has gone."""
        raise NotImplementedError

    async def open(self) -> int:
        self._server = await self._loop.create_server(self._connect, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def aclose(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.reset()

    def _connect(self) -> Connection:
        connection = Connection(self._respond)
        self._connections.append(connection)
        return connection

    async def _respond(self, request: Request, connection: Connection) -> None:
        try:
            await self.respond(request, connection)
        except Exception as error:  # a mistake in a fake or a script: the test shall see it
            self._failures.append(error)
            connection.reset()
            raise


def json_body(content: object) -> bytes:
    """Return `content` as JSON, with characters beyond ASCII sent as they are."""
    return json.dumps(content, ensure_ascii=False).encode()


def send_whole(
    connection: Connection,
    body: bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Send an answer in one go, with its length."""
    sent = {"Content-Type": content_type, **headers}
    connection.send_head(status, sent, content_length=len(body))
    connection.send(body)
