"""Getting an answer from a model server: the request built, the door used, the answer read."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from feature_config.errors import DeploymentMissing
from gateway.exchange import Exchange
from gateway.gates import Candidate
from prompts.errors import PromptError
from prompts.render import RenderedPrompt, render
from selfhosted_models.endpoints import Endpoint
from selfhosted_models.errors import (
    UpstreamProtocolError,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from selfhosted_models.outbound import OutboundDoor, OutboundRequest, UpstreamStream
from selfhosted_models.serving import Clocks, ServingConfig
from selfhosted_models.serving_formats.base import Completion, FormatError, ServingFormat
from selfhosted_models.serving_formats.registry import SERVING_FORMATS

T = TypeVar("T")

#: Renders the prompt for one candidate: what is asked depends on who is asked.
RenderFor = Callable[[Candidate], RenderedPrompt]

#: A server that cannot be reached costs one more attempt, at the next endpoint in order.
MAX_ATTEMPTS = 2

#: How long the status is held for the first event, so that a real error has a real status.
HOLD_STATUS_S = 10.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that could be sent: to this endpoint of this deployment, with this prompt."""

    candidate: Candidate
    endpoint: Endpoint
    serving_format: ServingFormat
    rendered: RenderedPrompt
    clocks: Clocks

    @property
    def serving(self) -> ServingConfig:
        return self.candidate.serving

    def request(self, *, stream: bool, request_id: str) -> OutboundRequest:
        wire = self.serving_format.build_request(
            self.serving, self.rendered.completion, stream=stream
        )
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if stream else "application/json",
            "User-Agent": "selfhosted-duo-gateway",
            "X-Request-ID": request_id,
        }
        if self.serving.api_key is not None:
            headers["Authorization"] = f"Bearer {self.serving.api_key.reveal()}"
        return OutboundRequest(
            hop=f"The model server of {self.serving.deployment}",
            endpoint=self.endpoint,
            path=wire.path,
            headers=headers,
            body=orjson.dumps(wire.body),
        )


class TextStream:
    """The text of an answer, piece by piece. Whoever holds it closes it."""

    def __init__(self, upstream: UpstreamStream, attempt: Attempt, exchange: Exchange) -> None:
        self._upstream = upstream
        self._attempt = attempt
        self._exchange = exchange
        self._texts = self._read()
        self._first: asyncio.Task[str | None] | None = None
        self.candidate = attempt.candidate
        self.finish_reason = "stop"
        self._is_over = False

    async def hold(self, seconds: float) -> None:
        """Wait for the first text, at most `seconds`; raises what went wrong until then."""
        self._first = asyncio.ensure_future(anext(self._texts, None))
        await asyncio.wait({self._first}, timeout=seconds)
        if self._first.done():
            self._first.result()

    async def __aiter__(self) -> AsyncIterator[str]:
        if self._first is not None:
            first = await self._first
            if first is not None:
                yield first
        async for text in self._texts:
            yield text

    async def _read(self) -> AsyncIterator[str]:
        """Yield each piece of text; an answer that breaks off raises."""
        is_complete = False
        hop = self._attempt.serving.deployment
        first_event_by = _first_content_by(self._attempt, self._exchange)
        async with aclosing(self._upstream.events(first_event_by=first_event_by)) as events:
            async for data in events:
                chunk = _parse(self._attempt, self._attempt.serving_format.parse_event, data)
                if chunk is None:
                    self._is_over = True
                    return
                if chunk.usage is not None:
                    self._exchange.usage = chunk.usage
                if chunk.finish_reason is not None:
                    is_complete = True
                    self.finish_reason = chunk.finish_reason
                if chunk.text:
                    self._exchange.note_content()
                    yield chunk.text
        if not is_complete:
            raise UpstreamTruncated(
                f"The model server of {hop} ended its answer without saying that it was done: see "
                "its own log."
            )

    async def aclose(self) -> None:
        """Close the connection to the model server, however far the answer has come."""
        if self._first is not None and not self._first.done():
            self._first.cancel()
        if self._is_over:
            await self._upstream.drain()
        await self._upstream.aclose()


def with_inputs(inputs: Mapping[str, Any]) -> RenderFor:
    """Return what fills each candidate's own prompt with `inputs`."""

    def render_for(candidate: Candidate) -> RenderedPrompt:
        context_tokens = candidate.serving.context_tokens
        return render(candidate.prompt, inputs, context_tokens=context_tokens)

    return render_for


def as_given(completion: Completion) -> RenderFor:
    """Return what sends a caller's own prompt as it is, whoever answers."""
    rendered = RenderedPrompt(completion, definition=None, input_tokens=0, cut_inputs=())
    return lambda _candidate: rendered


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, and who gave it."""

    text: str
    finish_reason: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of whom, and the exchange it is accounted to.

    Attributes:
        candidates: First choice first; the next is asked only if a server cannot be reached.
        clocks: Of this kind of request; a deployment may have its own.
    """

    door: OutboundDoor
    exchange: Exchange
    candidates: tuple[Candidate, ...]
    render_for: RenderFor
    clocks: Clocks

    async def fetch(self) -> Answer:
        """Return the whole answer of the first candidate that can be reached.

        Raises:
            PromptError: The inputs do not fit the prompt.
            DeploymentError: No model server gave an answer.
        """

        async def send(attempt: Attempt) -> bytes:
            request = attempt.request(stream=False, request_id=self.exchange.request_id)
            by = _first_content_by(attempt, self.exchange)
            return await self.door.fetch(request, attempt.clocks, headers_by=by)

        attempt, body = await self._first_reachable(send)
        chunk = _parse(attempt, attempt.serving_format.parse_body, body)
        if chunk.usage is not None:
            self.exchange.usage = chunk.usage
        self.exchange.note_content()
        return Answer(chunk.text, chunk.finish_reason or "stop", attempt.candidate)

    async def stream(self) -> TextStream:
        """Return the stream of the first candidate that can be reached, its first text waited for.

        Raises:
            PromptError: The inputs do not fit the prompt.
            DeploymentError: No model server began an answer.
        """

        async def send(attempt: Attempt) -> UpstreamStream:
            request = attempt.request(stream=True, request_id=self.exchange.request_id)
            by = _first_content_by(attempt, self.exchange)
            return await self.door.open_stream(request, attempt.clocks, headers_by=by)

        attempt, upstream = await self._first_reachable(send)
        stream = TextStream(upstream, attempt, self.exchange)
        try:
            await stream.hold(HOLD_STATUS_S)
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def _first_reachable(self, send: Callable[[Attempt], Awaitable[T]]) -> tuple[Attempt, T]:
        """Send to one endpoint after the other until a server can be reached."""
        unreachable: UpstreamUnreachable | None = None
        for candidate, endpoint in self._places():
            try:
                attempt = self._attempt(candidate, endpoint)
            except PromptError:
                if unreachable is None:
                    raise
                break  # a fallback it does not fit must not hide why it is asked at all
            _note(self.exchange, attempt)
            try:
                return attempt, await send(attempt)
            except UpstreamUnreachable as error:
                unreachable = error
        raise unreachable or DeploymentMissing("The deployment has no endpoint: add one to it.")

    def _places(self) -> list[tuple[Candidate, Endpoint]]:
        """Return where to ask: the endpoints of the first choice, then of the next."""
        return [
            (candidate, endpoint)
            for candidate in self.candidates
            for endpoint in candidate.serving.endpoints
        ][:MAX_ATTEMPTS]

    def _attempt(self, candidate: Candidate, endpoint: Endpoint) -> Attempt:
        serving = candidate.serving
        return Attempt(
            candidate=candidate,
            endpoint=endpoint,
            serving_format=SERVING_FORMATS[serving.serving_format],
            rendered=self.render_for(candidate),
            clocks=serving.clock_overrides.apply(self.clocks),
        )


def _note(exchange: Exchange, attempt: Attempt) -> None:
    definition = attempt.rendered.definition
    exchange.deployment = attempt.serving.deployment
    if definition is not None:
        exchange.prompt = f"{definition.prompt}/{definition.variant}/{definition.version}"
        exchange.prompt_digest = definition.digest
    exchange.prompt_tokens_estimate = attempt.rendered.input_tokens
    exchange.cut_inputs = attempt.rendered.cut_inputs


def _first_content_by(attempt: Attempt, exchange: Exchange) -> float:
    own = asyncio.get_running_loop().time() + attempt.clocks.first_token_s
    return min(own, exchange.first_content_by)


def _parse(attempt: Attempt, parse: Callable[[bytes], T], data: bytes) -> T:
    try:
        return parse(data)
    except FormatError as error:
        raise UpstreamProtocolError(
            f"The model server of {attempt.serving.deployment} sent {error}, which is not "
            f"{attempt.serving_format.title}: check its serving format."
        ) from error
