"""Legacy chat: the caller has written the prompt itself."""

import time
from dataclasses import replace
from typing import Annotated

from django.http.response import HttpResponseBase
from ninja import Body, Path, Router
from pydantic import WithJsonSchema

from feature_config.catalogue import WIRE_PROMPTS
from gateway.answers import Question, as_given
from gateway.api_document import ASKING, GATES, RAW_STREAM, describes
from gateway.errors import PathUnknown
from gateway.gates import Access, decide
from gateway.inbound.requests import GatewayRequest
from gateway.model_metadata import DEFAULT_DIALECT, CallerModel
from gateway.routing.line import Lane
from gateway.schemas.chat import ChatAnswer, ChatPayload, ChatRequest
from gateway.views.direct import chat_sampling
from gateway.views.responses import json_response, raw_stream
from selfhosted_models.serving_formats.base import Completion, Message, Sampling

router = Router(tags=["chat"])

#: Invokable -> (scope, prompt id whose feature answers).
_INVOKABLES = {
    "agent": ("duo_chat", "chat/react"),
    "explain_code": ("duo_chat", "chat/explain_code"),
    "write_tests": ("duo_chat", "chat/write_tests"),
    "refactor_code": ("duo_chat", "chat/refactor_code"),
    "explain_vulnerability": ("explain_vulnerability", "chat/explain_vulnerability"),
    "summarize_comments": ("summarize_comments", "chat/summarize_comments"),
    "troubleshoot_job": ("troubleshoot_job", "chat/troubleshoot_job"),
}


#: Another is answered with 404, not as an invalid request.
Invokable = Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(_INVOKABLES)})]


@router.post(
    "/v1/chat/{chat_invokable}",
    summary="Chat with a prompt of the caller's own",
    response=ChatAnswer,
)
@describes(*GATES, *ASKING, PathUnknown(""), stream=RAW_STREAM)
async def chat(
    request: GatewayRequest, chat_invokable: Path[Invokable], payload: Body[ChatRequest]
) -> HttpResponseBase:
    if chat_invokable not in _INVOKABLES:
        raise PathUnknown("Not found")
    scope, prompt_id = _INVOKABLES[chat_invokable]
    wire_prompt, asked = WIRE_PROMPTS[prompt_id], payload.prompt_components[0].payload
    exchange, runtime = request.exchange, request.runtime
    exchange.feature = wire_prompt.feature or ""
    decision = decide(
        runtime.snapshot,
        exchange.caller,
        Access(
            feature=wire_prompt.feature,
            unit_primitive=scope,
            prompt=wire_prompt.prompt,
            denied_detail=f"Unauthorized to access {scope}",
        ),
        caller_model=_caller_model(asked),
        policy=runtime.options.model_metadata,
    )
    completion = Completion(_sampling(asked), messages=_messages(asked))
    question = Question(
        runtime.fleet, exchange, decision.require(), as_given(completion), Lane.CHAT
    )
    if payload.stream:
        return raw_stream(await question.stream())
    answer = await question.fetch()
    metadata = {
        "provider": asked.provider or "anthropic",
        "model": asked.model,
        "timestamp": int(time.time()),
    }
    return json_response({"response": answer.text, "metadata": metadata})


def _caller_model(asked: ChatPayload) -> CallerModel | None:
    """Return the model the caller names; one of a vendor's is answered by the choice made here."""
    if asked.provider != "litellm":
        return None
    return CallerModel(
        name=asked.model,
        endpoint=asked.model_endpoint,
        api_key=asked.model_api_key,
        identifier=asked.model_identifier or "",
        provider=DEFAULT_DIALECT,
        loc=("body", "prompt_components", 0, "payload", "model_endpoint"),
    )


def _sampling(asked: ChatPayload) -> Sampling:
    """Return what the wire fixes, or for a vendor's model what the caller wishes within that."""
    ours, params = chat_sampling(asked.model), asked.params
    if asked.provider == "litellm" or params is None:
        return ours
    return replace(
        ours,
        max_output_tokens=min(params.max_tokens_to_sample, ours.max_output_tokens),
        temperature=params.temperature,
        stop=(*ours.stop, *filter(None, params.stop_sequences or ())),
    )


def _messages(asked: ChatPayload) -> tuple[Message, ...]:
    if isinstance(asked.content, str):
        return (Message("user", asked.content),)
    return tuple(Message(message.role, message.content) for message in asked.content)
