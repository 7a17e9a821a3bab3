"""Duo Chat's agent: one ReAct step, told as events, one JSON object a line."""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from django.http.response import HttpResponseBase
from ninja import Body, Router

from feature_config.catalogue import WIRE_PROMPTS, Feature
from gateway.agent.messages import scratchpad, with_context
from gateway.agent.react import Action, AgentEvent, AnswerTooLong, FinalAnswerDelta, ReActParser
from gateway.agent.tools import ChatTool, available_tools
from gateway.answers import Question, TextStream, with_inputs
from gateway.api_document import GATES, NDJSON_STREAM, describes
from gateway.errors import KNOWN_ERRORS, Hop, ScopeDenied, hop_of
from gateway.feature_flags import enabled_flags
from gateway.gates import Access, Candidate, decide
from gateway.inbound.requests import GatewayRequest, StreamedAnswer
from gateway.routing.line import Lane
from gateway.schemas.agent import AgentRequest
from gateway.views.caller_models import model_of_metadata
from selfhosted_models.errors import UpstreamRejected

router = Router(tags=["chat"])

_AGENT = Access(
    feature=Feature.DUO_CHAT,
    unit_primitive="duo_chat",
    prompt=WIRE_PROMPTS["chat/react"].prompt,
    denied_detail="Unauthorized to access duo chat",
)
#: Which tools are offered depends on them.
_HEADERS = {
    "X-Gitlab-Version": "GitLab's version; without one, tools that need a version are left out.",
    "X-Gitlab-Enabled-Feature-Flags": "Names, separated by commas.",
}


@router.post("/v2/chat/agent", summary="One step of Duo Chat's agent")
@describes(*GATES, stream=NDJSON_STREAM, headers=_HEADERS)
async def agent(request: GatewayRequest, payload: Body[AgentRequest]) -> HttpResponseBase:
    exchange, runtime = request.exchange, request.runtime
    exchange.feature = Feature.DUO_CHAT
    policy = runtime.options.model_metadata
    decision = decide(
        runtime.snapshot,
        exchange.caller,
        _AGENT,
        caller_model=model_of_metadata(payload.model_metadata),
        policy=policy,
    )
    candidates = decision.require()
    scopes = exchange.caller.scopes if exchange.caller else frozenset()
    _require_context_scopes(payload, scopes)
    flags = enabled_flags(request.headers, runtime.options.disallowed_flags)
    tools = available_tools(scopes, request.headers.get("X-Gitlab-Version", ""), flags)
    step = _AgentStep(request, candidates, payload, tools)
    return StreamedAnswer(step.lines(), step.aclose, "application/x-ndjson; charset=utf-8")


def _require_context_scopes(payload: AgentRequest, scopes: frozenset[str]) -> None:
    for message in payload.messages:
        for item in message.additional_context or ():
            scope = f"include_{item.category}_context"
            if scope not in scopes:
                raise ScopeDenied(f"Unauthorized to access {scope}")


class _AgentStep:
    """Asks the model and tells what it says; whatever goes wrong is the last line."""

    def __init__(
        self,
        request: GatewayRequest,
        candidates: tuple[Candidate, ...],
        payload: AgentRequest,
        tools: tuple[ChatTool, ...],
    ) -> None:
        self._fleet = request.runtime.fleet
        self._exchange = request.exchange
        self._candidates = candidates
        self._payload = payload
        self._tools = tools
        self._stream: TextStream | None = None

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield one line per event; each travels as an HTTP chunk of its own."""
        if self._payload.messages[-1:] == [] or self._payload.messages[-1].role != "user":
            yield self._failed(
                "request_invalid", "The last message must be the user's.", Hop.CALLER
            )
            return
        try:
            async for event in self._events():
                yield self._line(event)
        except KNOWN_ERRORS as error:
            is_retryable = isinstance(error, UpstreamRejected) and error.is_overloaded
            yield self._failed(
                error.code, error.safe_message, hop_of(error), is_retryable=is_retryable
            )
        except AnswerTooLong:
            yield self._failed(
                "upstream_bad_response",
                "The model's answer is too long to be one.",
                Hop.MODEL_SERVER,
            )

    async def _events(self) -> AsyncIterator[AgentEvent]:
        inputs = _inputs(self._payload, self._tools)
        self._stream = await Question(
            self._fleet, self._exchange, self._candidates, with_inputs(inputs), Lane.CHAT
        ).stream()
        parser = ReActParser()
        async for text in self._stream:
            for event in parser.feed(text):
                yield event
        for last_event in parser.finish():
            yield last_event

    def _line(self, event: AgentEvent) -> bytes:
        if isinstance(event, Action):
            if event.tool not in {tool.name for tool in self._tools}:
                return self._failed("tool_unavailable", "tool not available", Hop.MODEL_SERVER)
            return _json_line("action", asdict(event))
        kind = "final_answer_delta" if isinstance(event, FinalAnswerDelta) else "unknown"
        return _json_line(kind, asdict(event))

    def _failed(self, code: str, message: str, hop: Hop, *, is_retryable: bool = False) -> bytes:
        self._exchange.fail(code, message, hop)
        return _json_line("error", {"message": message, "retryable": is_retryable})

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()


def _inputs(payload: AgentRequest, tools: tuple[ChatTool, ...]) -> dict[str, Any]:
    steps = payload.options.agent_scratchpad.steps if payload.options else []
    return {
        "messages": with_context(payload.messages),
        "tools": [
            {
                "name": tool.name,
                "description": tool.description,
                "resource": tool.resource,
                "example": tool.example,
            }
            for tool in tools
        ],
        "agent_scratchpad": scratchpad(steps),
        "unavailable_resources": payload.unavailable_resources or [],
    }


def _json_line(kind: str, data: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "data": data}).encode() + b"\n"
