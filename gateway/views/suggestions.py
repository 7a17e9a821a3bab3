"""Enveloped code suggestions. They name no model: the feature's choice made here answers."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

from django.http.response import HttpResponseBase
from ninja import Body, Router
from packaging.version import Version

from feature_config.catalogue import Feature
from gateway.answers import Question, TextStream, with_inputs
from gateway.api_document import ASKING, GATES, RAW_STREAM, SSE_STREAM, describes
from gateway.errors import RequestInvalid
from gateway.gates import Access, decide
from gateway.inbound.requests import GatewayRequest, StreamedAnswer
from gateway.languages import detect_language
from gateway.post_processing import tidy_generation
from gateway.routing.line import Lane
from gateway.schemas.suggestions import (
    CompletionComponent,
    ContextComponent,
    GenerationComponent,
    SuggestionAnswer,
    SuggestionRequest,
)
from gateway.views.code import completion_inputs, generation_inputs
from gateway.views.responses import json_response, raw_stream

router = Router(tags=["code"])

#: Older language servers send context that was never meant to reach a model.
_CONTEXT_SINCE = Version("6.3.0")
_HEADERS = {
    "X-Gitlab-Language-Server-Version": f"Context is read from {_CONTEXT_SINCE} on.",
}
_DENIED = "Unauthorized to access code suggestions"


@router.post(
    "/v3/code/completions", summary="Code suggestion in an envelope", response=SuggestionAnswer
)
@describes(*GATES, *ASKING, stream=RAW_STREAM, headers=_HEADERS)
async def enveloped(request: GatewayRequest, payload: Body[SuggestionRequest]) -> HttpResponseBase:
    component = _first(payload)
    question = _question(request, component, payload)
    if component.payload.stream:
        return raw_stream(await question.stream())
    return await _whole(question, component)


@router.post(
    "/v4/code/suggestions",
    summary="Code suggestion as server-sent events",
    response=SuggestionAnswer,
)
@describes(*GATES, *ASKING, stream=SSE_STREAM, headers=_HEADERS)
async def suggestions(
    request: GatewayRequest, payload: Body[SuggestionRequest]
) -> HttpResponseBase:
    component = _first(payload)
    question = _question(request, component, payload)
    if not component.payload.stream:
        return await _whole(question, component)
    stream = await question.stream()
    response = StreamedAnswer(
        _events(stream),
        stream.aclose,
        "text/event-stream; charset=utf-8",
        heartbeat=b": keep-alive\r\n\r\n",
    )
    response["X-Streaming-Format"] = "sse"
    return response


def _first(payload: SuggestionRequest) -> CompletionComponent | GenerationComponent:
    """Return the component that decides what runs."""
    first = payload.prompt_components[0]
    if isinstance(first, ContextComponent):
        message = "The first component must be a completion or a generation, not context."
        loc = ["body", "prompt_components", 0, "type"]
        raise RequestInvalid([{"type": "value_error", "loc": loc, "msg": message, "input": None}])
    return first


def _question(
    request: GatewayRequest,
    component: CompletionComponent | GenerationComponent,
    payload: SuggestionRequest,
) -> Question:
    exchange, runtime = request.exchange, request.runtime
    is_completion = isinstance(component, CompletionComponent)
    feature = Feature.CODE_COMPLETIONS if is_completion else Feature.CODE_GENERATIONS
    exchange.feature = feature
    decision = decide(
        runtime.snapshot,
        exchange.caller,
        Access(
            feature=feature,
            unit_primitive="complete_code",
            prompt=feature,
            denied_detail=_DENIED,
            refuses_own_issued=True,
        ),
        caller_model=None,
        policy=runtime.options.model_metadata,
    )
    if isinstance(component, CompletionComponent):
        inputs = completion_inputs(component.payload, _context(request, payload))
    else:
        inputs = generation_inputs(component.payload, component.payload.prompt or "")
    lane = Lane.COMPLETION if is_completion else Lane.CHAT
    return Question(runtime.fleet, exchange, decision.require(), with_inputs(inputs), lane)


def _context(request: GatewayRequest, payload: SuggestionRequest) -> str:
    try:
        version = Version(request.headers.get("X-Gitlab-Language-Server-Version", ""))
    except ValueError:  # InvalidVersion, and too many digits for a number
        return ""
    if version < _CONTEXT_SINCE:
        return ""
    items = payload.prompt_components
    return "\n".join(item.payload.content for item in items if isinstance(item, ContextComponent))


async def _whole(
    question: Question, component: CompletionComponent | GenerationComponent
) -> HttpResponseBase:
    answer, edited = await question.fetch(), component.payload
    text = answer.text
    if isinstance(component, GenerationComponent):
        text = tidy_generation(text, edited.content_above_cursor)
    choices = [{"text": text, "index": 0, "finish_reason": "length"}] if text else []
    lang = detect_language(edited.file_name, edited.language_identifier)
    model = {"engine": "agent", "name": answer.candidate.prompt.title, "lang": lang}
    return json_response(
        {"choices": choices, "metadata": {"model": model, "timestamp": int(time.time())}}
    )


async def _events(stream: TextStream) -> AsyncIterator[bytes]:
    model = {"engine": "agent", "name": stream.candidate.prompt.title}
    yield _event("stream_start", {"metadata": {"model": model, "timestamp": int(time.time())}})
    async for text in stream:
        yield _event("content_chunk", {"choices": [{"delta": {"content": text}, "index": 0}]})
    yield _event("stream_end", None)


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n".encode()
