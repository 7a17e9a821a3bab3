"""One endpoint of a deployment, asked in the very way that requests are."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass

from selfhosted_models.asking import AnswerReader, outbound_request, read_document
from selfhosted_models.endpoints import Endpoint
from selfhosted_models.errors import UpstreamUnreachable
from selfhosted_models.outbound import OutboundDoor, OutboundRequest
from selfhosted_models.serving import Clocks, ServingConfig
from selfhosted_models.serving_formats.base import (
    Completion,
    CompletionChunk,
    Inquiry,
    ServingFormat,
    T,
    Usage,
    WireRequest,
)
from selfhosted_models.serving_formats.registry import SERVING_FORMATS

#: What a model server logs our questions by.
REQUEST_ID = "probe"
#: Of a whole answer: none of ours asks for much, and some servers send megabytes unasked.
MAX_ANSWER_BYTES = 1024 * 1024
#: Holds one of the requests that a deployment takes at once.
Admission = Callable[[], AbstractAsyncContextManager[object]]


@dataclass(frozen=True, slots=True)
class Heard:
    """A streamed answer.

    Attributes:
        pieces: How many pieces of text it came in.
        first_piece_s: From asking to the first text; None if there was none.
        speaking_s: From the first text to the last.
    """

    text: str
    finish_reason: str | None
    usage: Usage | None
    pieces: int
    first_piece_s: float | None
    speaking_s: float


@dataclass(frozen=True, slots=True)
class Interview:
    """Asks; every method raises a `DeploymentError` as a request would meet it.

    Attributes:
        clocks: Of each question.
        admission: Around each question to the model; what a server says of itself needs none.
    """

    door: OutboundDoor
    serving: ServingConfig
    endpoint: Endpoint
    clocks: Clocks
    admission: Admission = nullcontext

    @property
    def serving_format(self) -> ServingFormat:
        return SERVING_FORMATS[self.serving.serving_format]

    async def inquire(self, inquiry: Inquiry[T]) -> T:
        """Return what the server says of itself."""
        return read_document(self.serving, inquiry.read, await self._fetch(inquiry.request))

    async def ask(self, completion: Completion) -> CompletionChunk:
        """Return the whole answer."""
        wire = self.serving_format.build_request(self.serving, completion, stream=False)
        return await self.ask_wire(wire, completion)

    async def ask_wire(self, wire: WireRequest, completion: Completion) -> CompletionChunk:
        """Return the whole answer to `wire`, which asks for `completion` and maybe more."""
        reader = AnswerReader(self.serving, completion.sampling)
        async with self.admission():
            return reader.read_body(await self._fetch(wire))

    async def listen(self, completion: Completion) -> Heard:
        """Return the whole of a streamed answer."""
        async with self.admission():
            return await self._listen(completion)

    async def _listen(self, completion: Completion) -> Heard:
        now = asyncio.get_running_loop().time
        asked_at = now()
        wire = self.serving_format.build_request(self.serving, completion, stream=True)
        reader = AnswerReader(self.serving, completion.sampling)
        texts: list[str] = []
        spoken_at: list[float] = []
        finish_reason: str | None = None
        usage: Usage | None = None
        by = asked_at + self.clocks.first_token_s
        request = self._request(wire, stream=True)
        framings = self.serving_format.framings
        stream = await _once_more(
            lambda: self.door.open_stream(request, self.clocks, headers_by=by, framings=framings)
        )
        async with aclosing(stream), aclosing(stream.events(first_event_by=by)) as events:
            async for data in events:
                chunk = reader.read_event(data)
                finish_reason = chunk.finish_reason or finish_reason
                usage = chunk.usage or usage
                if chunk.text:
                    texts.append(chunk.text)
                    spoken_at.append(now())
                if chunk.is_last:
                    await stream.drain()
                    break
            else:
                texts.append(reader.end())
        return Heard(
            text="".join(texts),
            finish_reason=finish_reason,
            usage=usage,
            pieces=len(spoken_at),
            first_piece_s=spoken_at[0] - asked_at if spoken_at else None,
            speaking_s=spoken_at[-1] - spoken_at[0] if spoken_at else 0.0,
        )

    async def _fetch(self, wire: WireRequest) -> bytes:
        by = asyncio.get_running_loop().time() + self.clocks.first_token_s
        request = self._request(wire, stream=False)
        return await _once_more(
            lambda: self.door.fetch(request, self.clocks, headers_by=by, max_bytes=MAX_ANSWER_BYTES)
        )

    def _request(self, wire: WireRequest, *, stream: bool) -> OutboundRequest:
        return outbound_request(
            self.serving, self.endpoint, wire, stream=stream, request_id=REQUEST_ID
        )


async def _once_more(send: Callable[[], Awaitable[T]]) -> T:
    """Send again if no byte of an answer came, as requests do.

    A server may close a connection just when it is used again; some do so after every stream.
    """
    try:
        return await send()
    except UpstreamUnreachable:
        return await send()
