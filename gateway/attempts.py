"""Which model server is asked, in what order, and when another one gets a chance.

The first choice first, then the fallbacks; within a deployment the less loaded endpoint. A second
attempt is made only before any content, only for an error another server may not have, and only
within the retry budget of the endpoint it goes to.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.exchange import Exchange
from gateway.gates import Candidate
from gateway.routing.endpoint_state import Call
from gateway.routing.errors import CircuitOpen, DeadlinePassed, DeploymentBusy
from gateway.routing.fleet import Fleet
from gateway.routing.line import Lane, Line, Slot
from prompts.errors import ContextTooLong, PromptError
from prompts.render import RenderedPrompt
from selfhosted_models.asking import AnswerReader, outbound_request
from selfhosted_models.endpoints import Endpoint
from selfhosted_models.errors import DeploymentError, UpstreamTimeout
from selfhosted_models.outbound import OutboundRequest
from selfhosted_models.serving import Clocks, ServingConfig
from selfhosted_models.serving_formats.base import ServingFormat
from selfhosted_models.serving_formats.registry import SERVING_FORMATS

T = TypeVar("T")

#: Renders the prompt for one candidate: what is asked depends on who is asked.
RenderFor = Callable[[Candidate], RenderedPrompt]

#: How often a request is sent, in all: a third time would only add to an overload.
MAX_ATTEMPTS = 2
#: Before the same endpoint is asked again: full jitter between these.
BACKOFF_BOUNDS_S = (0.1, 0.4)
#: A timer of the event loop may fire a little early.
TIMER_SLACK_S = 0.005


@dataclass(slots=True)
class Attempt:
    """One request that is sent: to this endpoint of this deployment, with this prompt.

    It holds a slot of the deployment until it is over; ending it twice is fine.
    """

    candidate: Candidate
    endpoint: Endpoint
    serving_format: ServingFormat
    rendered: RenderedPrompt
    clocks: Clocks
    _call: Call
    _line: Line
    _slot: Slot
    _first_content_by: float
    _ends_by: float
    _is_check: bool
    _is_answering: bool = False
    _has_left: bool = False

    @property
    def serving(self) -> ServingConfig:
        return self.candidate.serving

    def request(self, *, stream: bool, request_id: str) -> OutboundRequest:
        wire = self.serving_format.build_request(
            self.serving, self.rendered.completion, stream=stream
        )
        return outbound_request(
            self.serving, self.endpoint, wire, stream=stream, request_id=request_id
        )

    def reader(self) -> AnswerReader:
        """Return what reads the answer."""
        return AnswerReader(self.serving, self.rendered.completion.sampling)

    def answers(self) -> None:
        """Note the first content: the server works, whatever comes later."""
        self._is_answering = True
        self._call.answers()

    def succeeded(self) -> None:
        self._call.succeeded()
        self._leave(was_answered=True)

    def failed(self, error: DeploymentError) -> None:
        ends_by = self._ends_by if self._is_answering else self._first_content_by
        is_late = asyncio.get_running_loop().time() >= ends_by - TIMER_SLACK_S
        # The request's own end is no verdict on the server, nor is the few seconds of a check.
        if self._is_check or (isinstance(error, UpstreamTimeout) and is_late):
            self._call.abandoned()
        else:
            self._call.failed(error)
        self._leave()

    def abandoned(self) -> None:
        """End it without a verdict on the server: the client left, or we stop."""
        self._call.abandoned()
        self._leave()

    def _leave(self, *, was_answered: bool = False) -> None:
        if not self._has_left:
            self._has_left = True
            self._line.leave(self._slot, was_answered=was_answered)


@dataclass(slots=True)
class Route:
    """The way of one request from server to server.

    Attributes:
        candidates: First choice first.
        lane: The kind of request: whom it goes before, and its clocks.
    """

    fleet: Fleet
    exchange: Exchange
    candidates: tuple[Candidate, ...]
    render_for: RenderFor
    lane: Lane
    _errors: list[tuple[str, DeploymentError | PromptError]] = field(default_factory=list)

    async def first_good(self, send: Callable[[Attempt], Awaitable[T]]) -> tuple[Attempt, T]:
        """Send to one server after the other until `send` succeeds; that attempt stays open.

        Raises:
            PromptError: The inputs do not fit the prompt.
            DeploymentError: No model server gave what was asked for.
        """
        async with aclosing(self._attempts()) as attempts:
            async for attempt in attempts:
                try:
                    return attempt, await send(attempt)
                except DeploymentError as error:
                    attempt.failed(error)
                    self._note(attempt.candidate, error)
                    if not error.retryable:
                        break
                except BaseException:
                    attempt.abandoned()
                    raise
        raise self._error()

    async def _attempts(self) -> AsyncGenerator[Attempt, None]:
        """Yield what may be tried, its slot taken: other servers first, then the same again."""
        sent: list[Attempt] = []
        for candidate in self.candidates:
            if len(sent) == MAX_ATTEMPTS:
                break
            if (rendered := self._rendered(candidate)) is None:
                continue
            tried: list[Endpoint] = []
            while len(sent) < MAX_ATTEMPTS:
                # A fallback's first request is no retry to it: it must take over at once.
                attempt = await self._enter(candidate, rendered, tried, is_retry=bool(tried))
                if attempt is None:
                    break
                sent.append(attempt)
                tried.append(attempt.endpoint)
                yield attempt
        if len(sent) == 1:
            await asyncio.sleep(random.uniform(*BACKOFF_BOUNDS_S))  # noqa: S311 - jitter
            first = sent[0]
            again = await self._enter(first.candidate, first.rendered, (), is_retry=True)
            if again is not None:
                yield again

    def _rendered(self, candidate: Candidate) -> RenderedPrompt | None:
        try:
            return self.render_for(candidate)
        except PromptError as error:
            # A larger model may take what a smaller one cannot; and a fallback it does not fit
            # must not hide why the fallback is asked at all.
            if not self._errors and not isinstance(error, ContextTooLong):
                raise
            self._note(candidate, error)
            return None

    async def _enter(
        self,
        candidate: Candidate,
        rendered: RenderedPrompt,
        tried: Collection[Endpoint],
        *,
        is_retry: bool,
    ) -> Attempt | None:
        """Take a slot of the deployment; None if none is free in time, or no endpoint is left."""
        serving, fleet, exchange = candidate.serving, self.fleet, self.exchange
        if fleet.now() >= exchange.first_content_by:
            if self._errors:  # they say more than that the time is over now
                return None
            raise DeadlinePassed
        if self._choose(candidate, tried) is None:
            return None
        line, joined_at = fleet.line_of(serving), fleet.now()
        try:
            slot = await line.enter(self.lane, exchange.user, by=exchange.first_content_by)
        except DeploymentBusy as busy:
            self._note(candidate, busy)
            return None
        finally:
            exchange.queued_s += fleet.now() - joined_at
        # Chosen now: while it waited, an endpoint may have failed others.
        endpoint = self._choose(candidate, tried)
        if endpoint is None or not self._may_send(candidate, endpoint, is_retry=is_retry):
            line.leave(slot, was_answered=False)
            return None
        attempt = Attempt(
            candidate=candidate,
            endpoint=endpoint,
            serving_format=SERVING_FORMATS[serving.serving_format],
            rendered=rendered,
            clocks=exchange.within_deadline(serving.clock_overrides.apply(self.lane.clocks)),
            _call=fleet.state_of(serving.deployment, endpoint).begin(
                exchange.user, is_retry=is_retry
            ),
            _line=line,
            _slot=slot,
            _first_content_by=exchange.first_content_by,
            _ends_by=exchange.ends_by,
            _is_check=self.lane is Lane.CHECK,
        )
        exchange.note_attempt(serving.deployment, rendered)
        return attempt

    def _choose(self, candidate: Candidate, tried: Collection[Endpoint]) -> Endpoint | None:
        serving, fleet = candidate.serving, self.fleet
        endpoint = fleet.choose(serving, tried=tried)
        if endpoint is None and not tried and self.lane is Lane.CHECK:
            return serving.endpoints[0]  # an admin tests whether it works again
        # What a server said itself says more than that it is left alone now.
        if endpoint is None and serving.deployment not in (name for name, _ in self._errors):
            opens_in_s = fleet.opens_again_in_s(serving)
            self._note(candidate, CircuitOpen(serving.deployment, opens_in_s))
        return endpoint

    def _may_send(self, candidate: Candidate, endpoint: Endpoint, *, is_retry: bool) -> bool:
        state = self.fleet.state_of(candidate.serving.deployment, endpoint)
        return not is_retry or state.retry_budget.allows_retry

    def _note(self, candidate: Candidate, error: DeploymentError | PromptError) -> None:
        deployment = candidate.serving.deployment
        self._errors.append((deployment, error))
        self.exchange.failed_attempts.append(f"{deployment}: {error.code}")

    def _error(self) -> DeploymentError | PromptError:
        """Return what to tell the caller: the last server's word, or why none was asked."""
        errors = [error for _, error in self._errors]
        told = [error for error in errors if isinstance(error, DeploymentError)]
        names = list(dict.fromkeys(name for name, _ in self._errors))
        if not told:
            return errors[0]
        last = told[-1]
        if len(names) > 1:
            last.safe_message = (
                f"None of {', '.join(names)} could answer. The last: {last.safe_message}"
            )
        return last
