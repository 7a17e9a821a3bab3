"""Getting an answer from a model server: the request built, the door used, the answer read."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import structlog

from feature_config.catalogue import Feature
from gateway.attempts import Attempt, RenderFor, Route
from gateway.exchange import Exchange
from gateway.gates import Candidate
from gateway.routing.fleet import Fleet
from gateway.routing.line import Lane
from prompts.correction import ask_again
from prompts.errors import OutputInvalid
from prompts.render import RenderedPrompt, render
from selfhosted_models.errors import DeploymentError
from selfhosted_models.outbound import UpstreamStream
from selfhosted_models.serving_formats.base import Completion, CompletionChunk

log = structlog.get_logger(__name__)

#: How long the status is held for the first event, so that a real error has a real status.
HOLD_STATUS_S = 10.0


class OpenAnswer:
    """An answer that has begun: its upstream, and what is known of it so far."""

    def __init__(self, upstream: UpstreamStream, attempt: Attempt, exchange: Exchange) -> None:
        self._upstream = upstream
        self._attempt = attempt
        self._exchange = exchange
        self._is_over = False
        self.finish_reason = "stop"

    async def texts(self) -> AsyncIterator[str]:
        """Yield each piece of text; an answer that breaks off raises."""
        reader = self._attempt.reader()
        first_event_by = _first_content_by(self._attempt, self._exchange)
        async with aclosing(self._upstream.events(first_event_by=first_event_by)) as events:
            async for data in events:
                chunk = reader.read_event(data)
                if chunk.usage is not None:
                    self._exchange.usage = chunk.usage
                if chunk.finish_reason is not None:
                    self.finish_reason = chunk.finish_reason
                if chunk.text:
                    yield chunk.text
                if chunk.is_last:
                    self._is_over = True
                    return
        if rest := reader.end():
            yield rest

    async def aclose(self) -> None:
        """Close the connection to the model server, however far the answer has come."""
        try:
            if self._is_over:
                await self._upstream.drain()
        finally:
            await self._upstream.aclose()


class TextStream:
    """The text of an answer, piece by piece. Whoever holds it closes it."""

    def __init__(self, question: "Question") -> None:
        self._question = question
        self._beginning = asyncio.ensure_future(self._begin())
        self._attempt: Attempt | None = None
        self._answer: OpenAnswer | None = None
        self._texts: AsyncIterator[str] | None = None

    async def hold(self, seconds: float) -> None:
        """Wait for the first text, at most `seconds`; raises what went wrong until then."""
        await asyncio.wait({self._beginning}, timeout=seconds)
        if self._beginning.done():
            self._beginning.result()

    @property
    def candidate(self) -> Candidate:
        """Who answers; until that is known, the first choice."""
        return self._attempt.candidate if self._attempt else self._question.candidates[0]

    @property
    def finish_reason(self) -> str:
        return self._answer.finish_reason if self._answer else "stop"

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            first = await self._beginning
        except asyncio.CancelledError:
            self._question.exchange.raise_if_stopping()
            raise
        if first is None or self._attempt is None or self._texts is None:
            return
        yield first
        try:
            async for text in self._texts:
                yield text
        except DeploymentError as error:
            self._attempt.failed(error)
            raise
        except asyncio.CancelledError:
            self._question.exchange.raise_if_stopping()
            raise
        self._attempt.succeeded()

    async def _begin(self) -> str | None:
        """Return the first text, None of an empty answer; until then another server may be asked.

        Whatever fails is over before any content, so that nothing is ever said twice.
        """
        self._attempt, first = await self._question.route().first_good(self._open)
        if first is None:
            self._attempt.succeeded()
        else:
            self._attempt.answers()
            self._question.exchange.note_content()
        return first

    async def _open(self, attempt: Attempt) -> str | None:
        exchange, fleet = self._question.exchange, self._question.fleet
        # Asked for no stream, a server answers in one body, which comes as a stream of one event.
        request = attempt.request(stream=fleet.asks_for_streams, request_id=exchange.request_id)
        by = _first_content_by(attempt, exchange)
        upstream = await fleet.door.open_stream(
            request, attempt.clocks, headers_by=by, framings=attempt.serving_format.framings
        )
        self._answer = OpenAnswer(upstream, attempt, exchange)
        self._texts = aiter(self._answer.texts())
        try:
            return await anext(self._texts, None)
        except BaseException:
            await self._answer.aclose()
            raise

    async def aclose(self) -> None:
        """Close the connection to the model server, however far the answer has come."""
        if not self._beginning.done():
            self._beginning.cancel()  # it closes what it opened
            await asyncio.wait({self._beginning})
        if not self._beginning.cancelled():
            self._beginning.exception()  # told already, or nobody is left to be told
        try:
            if self._answer is not None:
                await self._answer.aclose()
        finally:
            if self._attempt is not None:
                self._attempt.abandoned()


def with_inputs(inputs: Mapping[str, Any]) -> RenderFor:
    """Return what fills each candidate's own prompt with `inputs`."""

    def render_for(candidate: Candidate) -> RenderedPrompt:
        context_tokens = candidate.serving.context_tokens
        return render(candidate.prompt, inputs, context_tokens=context_tokens)

    return render_for


def as_given(completion: Completion) -> RenderFor:
    """Return what sends a caller's own prompt as it is, whoever answers."""
    rendered = RenderedPrompt(completion)
    return lambda _candidate: rendered


def lane_of(feature: Feature | None) -> Lane:
    """Return the lane of a feature's prompts; without a feature it is the connection check."""
    if feature is None:
        return Lane.CHECK
    return Lane.COMPLETION if feature is Feature.CODE_COMPLETIONS else Lane.CHAT


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
        candidates: First choice first; the next is asked if a server does not begin an answer.
        lane: The kind of request: whom it goes before, and its clocks.
    """

    fleet: Fleet
    exchange: Exchange
    candidates: tuple[Candidate, ...]
    render_for: RenderFor
    lane: Lane

    @property
    def has_contract(self) -> bool:
        """Whether the answer is judged as a whole, so that none of it can be sent before."""
        return any(candidate.prompt.contract for candidate in self.candidates)

    async def fetch(self) -> Answer:
        """Return the whole answer of the first candidate that gives one.

        Raises:
            PromptError: The inputs do not fit the prompt.
            DeploymentError: No model server gave an answer; or, as `OutputInvalid`, none that
                keeps to the prompt's contract, asked a second time.
        """
        rendered, answer = await self._fetch_any()
        contract = rendered.definition.contract if rendered.definition else None
        if contract is None:
            return answer
        try:
            return replace(answer, text=contract.accept(answer.text, rendered.inputs))
        except OutputInvalid as error:
            self._log_invalid(answer, error)
            completion = ask_again(rendered, answer.text, error.problem)
            if completion is None or self.fleet.now() >= self.exchange.first_content_by:
                raise
        corrected = replace(rendered, completion=completion)
        again = replace(self, candidates=(answer.candidate,), render_for=lambda _: corrected)
        _, answer = await again._fetch_any()
        return replace(answer, text=contract.accept(answer.text, rendered.inputs))

    async def _fetch_any(self) -> tuple[RenderedPrompt, Answer]:
        """Return whatever a model server answers, and to what."""

        async def send(attempt: Attempt) -> CompletionChunk:
            request = attempt.request(stream=False, request_id=self.exchange.request_id)
            by = _first_content_by(attempt, self.exchange)
            body = await self.fleet.door.fetch(request, attempt.clocks, headers_by=by)
            return attempt.reader().read_body(body)

        attempt, chunk = await self.route().first_good(send)
        attempt.succeeded()
        if chunk.usage is not None:
            self.exchange.usage += chunk.usage
        self.exchange.note_content()
        answer = Answer(chunk.text, chunk.finish_reason or "stop", attempt.candidate)
        return attempt.rendered, answer

    def _log_invalid(self, answer: Answer, error: OutputInvalid) -> None:
        log.warning(
            "answer.invalid",
            request_id=self.exchange.request_id,
            deployment=answer.candidate.serving.deployment,
            prompt=self.exchange.prompt,
            reason=error.problem,
        )

    async def stream(self) -> TextStream:
        """Return the stream of the first candidate that begins one, its first text waited for.

        Raises:
            PromptError: The inputs do not fit the prompt.
            DeploymentError: No model server began an answer.
        """
        stream = TextStream(self)
        try:
            await stream.hold(HOLD_STATUS_S)
        except BaseException:
            await stream.aclose()
            raise
        return stream

    def route(self) -> Route:
        return Route(self.fleet, self.exchange, self.candidates, self.render_for, self.lane)


def _first_content_by(attempt: Attempt, exchange: Exchange) -> float:
    own = asyncio.get_running_loop().time() + attempt.clocks.first_token_s
    return min(own, exchange.first_content_by)
