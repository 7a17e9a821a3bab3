"""A fake of an OpenAI-compatible model server that misbehaves on demand.

    with ModelServer() as server:
        server.answer_with(Script(chunks=("Hel", "lo")))
        ...  # point the code under test at server.endpoint
        exchange = server.wait_for_request()
        assert exchange.json["stream"] is True

Every request to a base path gets that base's script, whatever its path: a server that answers 401
answers it to `GET /v1/models` too. Chat or text completion, streamed or not, follow the request.
"""

import asyncio
import gzip
import threading
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from tests.fakes.loopback import Connection, LoopbackServer, Request, json_body

MODEL = "fake-model"
# Long enough for the client's event loop to read one piece before the next arrives.
PIECE_GAP_S = 0.001
DONE = b"[DONE]"

Stall = Literal["before_headers", "after_headers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How to answer a request. The defaults are a server that behaves.

    Attributes:
        chunks: The answer's text, piece by piece as it is streamed.
        finish_reason: Why the answer ended; None never says so.
        usage: Prompt and completion tokens; a stream sends them when asked by `stream_options`.
        done: Whether a stream ends with `data: [DONE]`.
        gap_s: Seconds between events.
        status: Status of the answer.
        headers: More headers of the answer.
        body: Raw body in place of a completion, streamed or not.
        content_type: Of `body`.
        compress: Content-Encoding gzip.
        stall: Where to stop until `Exchange.release()`, or the peer closes: a number is after so
            many events. A body that is not streamed is one event.
        cut_after: Close the connection after so many events, without an end.
        cut: How to: FIN ends the data early, RST fails the peer's read.
        malformed_at: The event of this number, from 0, is broken JSON.
        line_end: Between the lines of a stream.
        comments: Send a comment line before each event, as keep-alives do.
        piece_bytes: Write in pieces of this size, each a packet and a chunk: 1 also cuts UTF-8.
        never_ends: Repeat the last text for ever; no finish reason comes.
        endless_line: Send one line that never ends, in place of events.
    """

    chunks: tuple[str, ...] = ("Hello", ", ", "world", "!")
    finish_reason: str | None = "stop"
    usage: tuple[int, int] | None = (7, 4)
    done: bool = True
    gap_s: float = 0.0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    compress: bool = False
    stall: Stall | int | None = None
    cut_after: int | None = None
    cut: Literal["FIN", "RST"] = "FIN"
    malformed_at: int | None = None
    line_end: Literal["\n", "\r\n"] = "\n"
    comments: bool = False
    piece_bytes: int | None = None
    never_ends: bool = False
    endless_line: bool = False

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.chunks)

    @classmethod
    def error(cls, status: int, message: str = "", *, retry_after_s: int | None = None) -> Self:
        """An error as OpenAI words it."""
        content = {"error": {"message": message or f"error {status}", "type": "fake", "code": None}}
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        return cls(status=status, headers=headers, body=json_body(content))

    @classmethod
    def html(cls, status: int = 200) -> Self:
        """What a proxy or a login page in between answers."""
        page = b"<!doctype html><html><body><h1>Please sign in</h1></body></html>"
        return cls(status=status, body=page, content_type="text/html; charset=utf-8")

    @classmethod
    def malformed_json(cls) -> Self:
        """A body cut off inside its JSON, with a length that says it is whole."""
        return cls(body=b'{"choices": [{"message": {"content": "Hel')

    @classmethod
    def redirect(cls, location: str) -> Self:
        return cls(status=302, headers={"Location": location}, body=b"")


class Exchange:
    """One request, and what became of it.

    Attributes:
        request: As it arrived.
        base: Name of the base path it came to; empty for the server's own.
        path: Without the base path: `/v1/chat/completions`.
        closed_by_peer: Set as soon as the peer closes the connection, whether or not we had ended.
        completed: Set once everything was sent.
        sent_events: Events sent so far, `[DONE]` included.
    """

    def __init__(self, request: Request, *, base: str, path: str, server: LoopbackServer) -> None:
        self.request = request
        self.base = base
        self.path = path
        self.closed_by_peer = threading.Event()
        self.completed = threading.Event()
        self.sent_events = 0
        self.released = asyncio.Event()
        self._server = server

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def headers(self) -> dict[str, str]:
        return self.request.headers

    @property
    def json(self) -> Any:
        return self.request.json

    @property
    def is_chat(self) -> bool:
        return self.path.endswith("/chat/completions")

    @property
    def is_models(self) -> bool:
        return self.method == "GET" and self.path.endswith("/models")

    @property
    def wants_stream(self) -> bool:
        return isinstance(self.json, dict) and self.json.get("stream") is True

    @property
    def wants_usage(self) -> bool:
        options = self.json.get("stream_options") if isinstance(self.json, dict) else None
        return isinstance(options, dict) and options.get("include_usage") is True

    def release(self) -> None:
        """Let a stalled answer go on."""
        self._server.call(self.released.set)


def whole_answer(script: Script, exchange: Exchange) -> dict[str, Any]:
    """Return what a request that does not stream gets."""
    if exchange.is_models:
        return {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "fake"}]}
    choice: dict[str, Any] = {"index": 0, "finish_reason": script.finish_reason}
    if exchange.is_chat:
        choice["message"] = {"role": "assistant", "content": script.text}
    else:
        choice["text"] = script.text
    return {**_envelope(exchange), "choices": [choice], **_usage(script)}


def events(script: Script, exchange: Exchange) -> list[bytes]:
    """Return the data of each event of a streamed answer."""
    pieces: list[dict[str, Any]] = []
    if exchange.is_chat:
        pieces.append({"delta": {"role": "assistant", "content": ""}})
    pieces += [
        {"delta": {"content": chunk}} if exchange.is_chat else {"text": chunk}
        for chunk in script.chunks
    ]
    if script.finish_reason is not None:
        end: dict[str, Any] = {"delta": {}} if exchange.is_chat else {"text": ""}
        pieces.append({**end, "finish_reason": script.finish_reason})
    envelope = _envelope(exchange, stream=True)
    bodies: list[dict[str, Any]] = [
        {**envelope, "choices": [{"index": 0, "finish_reason": None, **piece}]} for piece in pieces
    ]
    if exchange.wants_usage and script.usage is not None:
        bodies.append({**envelope, "choices": [], **_usage(script)})
    data = [json_body(body) for body in bodies]
    if script.malformed_at is not None:
        data[script.malformed_at] = data[script.malformed_at][:-9]
    return [*data, DONE] if script.done else data


def _envelope(exchange: Exchange, *, stream: bool = False) -> dict[str, Any]:
    kind = "text_completion"
    if exchange.is_chat:
        kind = "chat.completion.chunk" if stream else "chat.completion"
    asked = exchange.json.get("model", MODEL) if isinstance(exchange.json, dict) else MODEL
    return {"id": "cmpl-fake", "object": kind, "created": 1_700_000_000, "model": asked}


def _usage(script: Script) -> dict[str, Any]:
    if script.usage is None:
        return {}
    asked, answered = script.usage
    tokens = {"prompt_tokens": asked, "completion_tokens": answered}
    return {"usage": {**tokens, "total_tokens": asked + answered}}


class ModelServer(LoopbackServer):
    """The fake. One server may play many: each base path has scripts of its own.

    Attributes:
        url: Its origin.
        exchanges: Every request so far, oldest first.
        in_flight: Requests it is answering.
        most_in_flight: The most it ever was answering at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.exchanges: list[Exchange] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._scripts: dict[str, list[Script]] = {"": [Script()]}
        self._arrived = threading.Condition()

    @property
    def endpoint(self) -> str:
        """Base URL for a deployment without a base path of its own."""
        return f"{self.url}/v1"

    def answer_with(self, *scripts: Script) -> None:
        """Answer the next requests with these, in order; the last one stays."""
        self._scripts[""] = list(scripts)

    def path(self, name: str, *scripts: Script) -> str:
        """Return a base URL that answers with `scripts`, in order; the last one stays."""
        self._scripts[name] = list(scripts or (Script(),))
        return f"{self.url}/{name}/v1"

    def exchanges_at(self, name: str) -> list[Exchange]:
        """Return the requests to the base path `name`, oldest first."""
        return [exchange for exchange in self.exchanges if exchange.base == name]

    def wait_for_request(
        self, number: int = 0, *, base: str = "", timeout_s: float = 5.0
    ) -> Exchange:
        """Return the request of this number, from 0, to `base`, once it has arrived.

        Raises:
            TimeoutError: It did not arrive in time.
        """
        with self._arrived:
            if self._arrived.wait_for(lambda: len(self.exchanges_at(base)) > number, timeout_s):
                return self.exchanges_at(base)[number]
        raise TimeoutError(f"no request {number} at base path {base!r} after {timeout_s:g} s")

    async def respond(self, request: Request, connection: Connection) -> None:
        base, path = self._split(request.path)
        exchange = Exchange(request, base=base, path=path, server=self)
        connection.on_peer_closed = exchange.closed_by_peer.set
        if connection.peer_closed.is_set():
            exchange.closed_by_peer.set()
        scripts = self._scripts[base]
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        with self._arrived:
            self.exchanges.append(exchange)
            self._arrived.notify_all()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await _Answer(script, exchange, connection).send()
        finally:
            self.in_flight -= 1

    def _split(self, path: str) -> tuple[str, str]:
        name, _, rest = path.removeprefix("/").partition("/")
        return (name, f"/{rest}") if name in self._scripts else ("", path)


class _Answer:
    """The sending of one answer, step by step as its script says."""

    def __init__(self, script: Script, exchange: Exchange, connection: Connection) -> None:
        self.script = script
        self.exchange = exchange
        self.connection = connection
        self.compressor: zlib._Compress | None = None

    async def send(self) -> None:
        await self._stall_at("before_headers")
        if self._is_stream:
            whole = await self._send_stream()
        else:
            whole = await self._send_whole()
        if whole:
            self.exchange.completed.set()

    @property
    def _is_stream(self) -> bool:
        plain = self.script.body is not None or self.exchange.is_models
        return self.exchange.wants_stream and not plain

    async def _send_whole(self) -> bool:
        body, content_type = self.script.body, self.script.content_type
        if body is None:
            body = json_body(whole_answer(self.script, self.exchange))
        if self.script.compress:
            body = gzip.compress(body)
        self._send_head(content_type, content_length=len(body))
        return await self._send_parts(self._once(body))

    async def _once(self, body: bytes) -> AsyncIterator[bytes]:
        yield body

    async def _send_stream(self) -> bool:
        if self.script.compress:
            self.compressor = zlib.compressobj(wbits=31)  # 31: with gzip's header
        self._send_head("text/event-stream")
        if self.script.endless_line:
            return await self._send_parts(self._endless_line())
        if not await self._send_parts(self._framed_events()):
            return False
        if self.compressor is not None:
            self.connection.send(self.compressor.flush())
        self.connection.end()
        return True

    def _send_head(self, content_type: str, *, content_length: int | None = None) -> None:
        headers = {"Content-Type": content_type, **self.script.headers}
        if self.script.compress:
            headers["Content-Encoding"] = "gzip"
        self.connection.send_head(self.script.status, headers, content_length=content_length)

    async def _framed_events(self) -> AsyncIterator[bytes]:
        end = self.script.line_end.encode()
        comment = b": keep-alive" + end + end if self.script.comments else b""
        for data in events(self.script, self.exchange):
            if self.script.never_ends and (data == DONE or b'"finish_reason": null' not in data):
                break
            last = data
            yield comment + b"data: " + data + end + end
        while self.script.never_ends:
            yield comment + b"data: " + last + end + end

    async def _endless_line(self) -> AsyncIterator[bytes]:
        yield b"data: "
        while True:
            yield b"a" * 16_384

    async def _send_parts(self, parts: AsyncIterator[bytes]) -> bool:
        """Send each part as one event; return whether the script let them all through."""
        await self._stall_at("after_headers")
        if self._cuts():
            return False
        await self._stall_at(0)
        async for part in parts:
            if self.exchange.sent_events:
                await asyncio.sleep(self.script.gap_s)
            await self._write(part)
            self.exchange.sent_events += 1
            if self._cuts():
                return False
            await self._stall_at(self.exchange.sent_events)
        return True

    async def _write(self, part: bytes) -> None:
        if self.compressor is not None:
            part = self.compressor.compress(part) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
        size = self.script.piece_bytes
        if size is None:
            self.connection.send(part)
        else:
            for start in range(0, len(part), size):
                self.connection.send(part[start : start + size])
                await asyncio.sleep(PIECE_GAP_S)
        await self.connection.drain()

    def _cuts(self) -> bool:
        if self.exchange.sent_events != self.script.cut_after:
            return False
        if self.script.cut == "RST":
            self.connection.reset()
        else:
            self.connection.close()
        return True

    async def _stall_at(self, point: Stall | int) -> None:
        """Wait here for `Exchange.release()`. A peer that closes cancels us."""
        if self.script.stall == point and self.script.stall is not None:
            await self.exchange.released.wait()
