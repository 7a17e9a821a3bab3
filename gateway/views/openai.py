"""The same features for any OpenAI client: `model` is a feature id, or `deployment:<name>`.

Duo Chat and code completion are asked with their own prompts. Any other model is asked what the
caller wrote, as it is: the other features' prompts need inputs that a chat does not carry.
"""

from dataclasses import replace
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from ninja import Body, Router

from feature_config.catalogue import Feature
from feature_config.errors import FeatureUnknown
from gateway.answers import Question, with_inputs
from gateway.api_document import ASKING, GATES, SSE_STREAM, describes
from gateway.attempts import RenderFor
from gateway.errors import PathUnknown, RequestInvalid
from gateway.gates import Access, Candidate, decide
from gateway.inbound.requests import GatewayRequest
from gateway.model_metadata import ModelMetadataPolicy
from gateway.openai_models import access_to, usable_models
from gateway.routing.line import Lane
from gateway.schemas.openai import (
    ChatCompletion,
    ChatCompletionRequest,
    ChatMessage,
    CompletionRequest,
    Model,
    ModelList,
    OpenAIRequest,
    TextCompletion,
)
from gateway.views.openai_answers import CHAT, TEXT, answer
from gateway.views.responses import json_response
from prompts.render import RenderedPrompt, fit
from selfhosted_models.serving_formats.base import Completion, Message, Sampling

router = Router(tags=["openai"])

#: Of an answer to a caller's own words: unless it asks for another number, and at most.
_OUTPUT_TOKENS = 2048
_MAX_OUTPUT_TOKENS = 8192

#: How `model` may be wrong.
_UNKNOWN = (
    FeatureUnknown("", known=()),
    PathUnknown("", code="deployment_unknown"),
    PathUnknown("", code="not_a_chat_model"),
)

_NOT_USABLE = PathUnknown(
    "This token may use no such model now: GET /openai/v1/models lists those that it may.",
    code="model_not_usable",
)


@router.get("/openai/v1/models", summary="The models this token may use now", response=ModelList)
@describes()
async def models(request: GatewayRequest) -> HttpResponse:
    usable = usable_models(request.runtime.snapshot, request.exchange.caller)
    return json_response({"object": "list", "data": [*map(_told, usable)]})


@router.get("/openai/v1/models/{path:model_id}", summary="One of these models", response=Model)
@describes(_NOT_USABLE)
async def model(request: GatewayRequest, model_id: str) -> HttpResponse:
    if model_id not in usable_models(request.runtime.snapshot, request.exchange.caller):
        raise _NOT_USABLE
    return json_response(_told(model_id))


def _told(model_id: str) -> dict[str, Any]:
    # `created` is a member that clients read and that nothing here stands for.
    return {"id": model_id, "object": "model", "created": 0, "owned_by": "selfhosted-duo"}


@router.post("/openai/v1/chat/completions", summary="Chat with a model", response=ChatCompletion)
@describes(*GATES, *ASKING, *_UNKNOWN, stream=SSE_STREAM)
async def chat_completions(
    request: GatewayRequest, payload: Body[ChatCompletionRequest]
) -> HttpResponseBase:
    if payload.model == Feature.CODE_COMPLETIONS:
        raise PathUnknown(
            "code_completions does not chat: ask it at /openai/v1/completions.",
            code="not_a_chat_model",
        )
    messages = tuple(map(_turn, payload.messages))
    if payload.model == Feature.DUO_CHAT:
        render_for = _with_own_sampling(with_inputs({"messages": messages}), payload)
    else:
        render_for = _as_written(Completion(_own_sampling(payload), messages=messages))
    question = _question(request, access_to(payload.model), render_for, Lane.CHAT)
    return await answer(CHAT, question, payload)


@router.post(
    "/openai/v1/completions",
    summary="Complete a text, or code between two texts",
    response=TextCompletion,
)
@describes(*GATES, *ASKING, *_UNKNOWN, stream=SSE_STREAM)
async def completions(
    request: GatewayRequest, payload: Body[CompletionRequest]
) -> HttpResponseBase:
    access, suffix = access_to(payload.model), payload.suffix or ""
    if suffix and access.prompt != Feature.CODE_COMPLETIONS:
        raise _suffix_refused(payload.model)
    if suffix or access.feature is Feature.CODE_COMPLETIONS:
        fill = with_inputs({"prefix": payload.prompt, "suffix": suffix})
        render_for = _with_own_sampling(fill, payload)
        question = _question(request, access, render_for, Lane.COMPLETION)
    else:
        written = Completion(_own_sampling(payload), text=payload.prompt)
        question = _question(request, access, _as_written(written), Lane.CHAT)
    return await answer(TEXT, question, payload)


def _question(
    request: GatewayRequest, access: Access, render_for: RenderFor, lane: Lane
) -> Question:
    exchange, runtime = request.exchange, request.runtime
    exchange.feature = access.feature or ""
    decision = decide(
        runtime.snapshot,
        exchange.caller,
        access,
        caller_model=None,
        policy=ModelMetadataPolicy.IGNORE,
    )
    return Question(runtime.fleet, exchange, decision.require(), render_for, lane)


def _with_own_sampling(fill: RenderFor, payload: OpenAIRequest) -> RenderFor:
    """Return what renders as `fill` does, sampled as the caller wishes within its limits."""

    def render_for(candidate: Candidate) -> RenderedPrompt:
        rendered = fill(candidate)
        ours = rendered.completion.sampling
        sampling = Sampling(
            max_output_tokens=min(
                payload.output_tokens or ours.max_output_tokens, ours.max_output_tokens
            ),
            temperature=ours.temperature if payload.temperature is None else payload.temperature,
            top_p=ours.top_p if payload.top_p is None else payload.top_p,
            stop=(*ours.stop, *payload.stop),
        )
        return replace(rendered, completion=replace(rendered.completion, sampling=sampling))

    return render_for


def _own_sampling(payload: OpenAIRequest) -> Sampling:
    return Sampling(
        max_output_tokens=min(payload.output_tokens or _OUTPUT_TOKENS, _MAX_OUTPUT_TOKENS),
        temperature=payload.temperature,
        top_p=payload.top_p,
        stop=payload.stop,
    )


def _as_written(completion: Completion) -> RenderFor:
    return lambda candidate: fit(completion, context_tokens=candidate.serving.context_tokens)


def _turn(message: ChatMessage) -> Message:
    role = "system" if message.role == "developer" else message.role
    return Message(role, message.content or "")


def _suffix_refused(model: str) -> RequestInvalid:
    message = f"{model} does not fill in between two texts: leave the suffix out, or ask "
    message += f"{Feature.CODE_COMPLETIONS} or a deployment"
    item = {"type": "value_error", "loc": ["body", "suffix"], "msg": message, "input": None}
    return RequestInvalid([item])
