"""The same features for any OpenAI client: `model` is a feature id."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
from django.http.response import HttpResponseBase
from ninja import Body, Router

from feature_config.catalogue import FEATURES, Feature
from feature_config.errors import FeatureUnknown
from gateway.answers import Question, TextStream, with_inputs
from gateway.api_document import ASKING, GATES, SSE_STREAM, describes
from gateway.attempts import RenderFor
from gateway.exchange import Exchange
from gateway.gates import Access, Candidate, decide
from gateway.model_metadata import ModelMetadataPolicy
from gateway.requests import GatewayRequest, StreamedAnswer
from gateway.routing.line import Lane
from gateway.schemas.openai import ChatCompletionRequest, ChatMessage
from gateway.views.responses import json_response
from prompts.render import RenderedPrompt
from selfhosted_models.errors import DeploymentError
from selfhosted_models.serving_formats.base import Sampling, Usage

router = Router(tags=["openai"])

#: Features whose prompt takes a conversation.
_CHAT_FEATURES = {Feature.DUO_CHAT}


@router.post("/openai/v1/chat/completions", summary="Chat with a feature")
@describes(*GATES, *ASKING, FeatureUnknown("", known=()), stream=SSE_STREAM)
async def chat_completions(
    request: GatewayRequest, payload: Body[ChatCompletionRequest]
) -> HttpResponseBase:
    exchange, runtime = request.exchange, request.runtime
    if payload.model not in _CHAT_FEATURES:
        raise FeatureUnknown(payload.model, known=sorted(_CHAT_FEATURES))
    feature = Feature(payload.model)
    exchange.feature = feature
    facts = FEATURES[feature]
    decision = decide(
        runtime.snapshot,
        exchange.caller,
        Access(
            feature=feature,
            unit_primitive=facts.unit_primitive,
            prompt=feature,
            denied_detail=f"The token lacks the scope {facts.unit_primitive}.",
        ),
        caller_model=None,
        policy=ModelMetadataPolicy.IGNORE,
    )
    question = Question(
        runtime.fleet, exchange, decision.require(), _render_for(payload), Lane.CHAT
    )
    if payload.stream:
        stream = await question.stream()
        wants_usage = bool(payload.stream_options and payload.stream_options.include_usage)
        events = _events(stream, exchange, feature, wants_usage=wants_usage)
        return StreamedAnswer(
            events, stream.aclose, "text/event-stream; charset=utf-8", heartbeat=b": keep-alive\n\n"
        )
    answer = await question.fetch()
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    body = _head("chat.completion", exchange, feature) | {"choices": [choice]}
    return json_response(body | {"usage": _usage(exchange.usage)})


def _render_for(payload: ChatCompletionRequest) -> RenderFor:
    """Return what renders the conversation, sampled as the caller wishes within our limits."""
    fill = with_inputs({"messages": [_turn(message) for message in payload.messages]})

    def render_for(candidate: Candidate) -> RenderedPrompt:
        rendered = fill(candidate)
        sampling = _sampling(payload, rendered.completion.sampling)
        return replace(rendered, completion=replace(rendered.completion, sampling=sampling))

    return render_for


def _sampling(payload: ChatCompletionRequest, ours: Sampling) -> Sampling:
    wanted = payload.max_completion_tokens or payload.max_tokens or ours.max_output_tokens
    return Sampling(
        max_output_tokens=min(wanted, ours.max_output_tokens),
        temperature=ours.temperature if payload.temperature is None else payload.temperature,
        top_p=ours.top_p if payload.top_p is None else payload.top_p,
        stop=(*ours.stop, *payload.stop),
    )


def _turn(message: ChatMessage) -> dict[str, str]:
    role = "system" if message.role == "developer" else message.role
    return {"role": role, "content": message.content}


async def _events(
    stream: TextStream, exchange: Exchange, feature: Feature, *, wants_usage: bool
) -> AsyncIterator[bytes]:
    """Yield the answer as server-sent events; every stream ends in [DONE], after an error too."""
    head = _head("chat.completion.chunk", exchange, feature)

    def event(delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _event(head | {"choices": [choice]})

    try:
        yield event({"role": "assistant", "content": ""}, None)
        async for text in stream:
            yield event({"content": text}, None)
    except DeploymentError as error:
        exchange.outcome, exchange.reason = error.code, error.safe_message
        problem = {"message": error.safe_message, "type": "api_error", "code": error.code}
        yield _event({"error": problem | {"request_id": exchange.request_id}})
    else:
        yield event({}, stream.finish_reason)
        if wants_usage and exchange.usage != Usage():
            yield _event(head | {"choices": [], "usage": _usage(exchange.usage)})
    yield b"data: [DONE]\n\n"


def _head(kind: str, exchange: Exchange, feature: Feature) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{exchange.request_id}",
        "object": kind,
        "created": int(time.time()),
        "model": feature,
    }


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def _usage(usage: Usage) -> dict[str, int]:
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
