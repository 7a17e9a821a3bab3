"""Code completion and generation, as GitLab's Workhorse and IDEs call them."""

import time
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from ninja import Body, Router

from feature_config.catalogue import Feature
from gateway.answers import Answer, Question, as_given, with_inputs
from gateway.api_document import ASKING, GATES, RAW_STREAM, describes
from gateway.errors import PathUnknown
from gateway.exchange import Exchange
from gateway.gates import Access, Candidate, decide
from gateway.inbound.requests import GatewayRequest
from gateway.languages import detect_language
from gateway.model_metadata import CallerModel
from gateway.post_processing import (
    escapes_underscores,
    tidy_generation,
    unescape_underscores,
)
from gateway.routing.line import Lane
from gateway.schemas.code import (
    SELF_HOSTED_PROVIDERS,
    AnyCodeRequest,
    CodeAnswer,
    CompletionRequest,
    EditedFile,
    GenerationRequest,
    WrittenPrompt,
    own_prompt,
)
from gateway.views.direct import COMPLETION_SAMPLING, chat_sampling, fitting_text
from gateway.views.responses import json_response, raw_stream
from prompts.tokens import cut_to_tokens, estimate_tokens
from selfhosted_models.serving_formats.base import Completion, Message, Sampling

router = Router(tags=["code"])

_COMPLETIONS = Access(
    feature=Feature.CODE_COMPLETIONS,
    unit_primitive="complete_code",
    prompt=Feature.CODE_COMPLETIONS,
    denied_detail="Unauthorized to access code completions",
)
_GENERATIONS = Access(
    feature=Feature.CODE_GENERATIONS,
    unit_primitive="generate_code",
    prompt=Feature.CODE_GENERATIONS,
    denied_detail="Unauthorized to access code generations",
    refuses_own_issued=True,
)
#: Dialects of a model without an identifier. Source: wire contract, 3.1.
_COMPLETIONS_DIALECT = "text-completion-openai"
_GENERATIONS_DIALECT = "custom_openai"
_GENERATIONS_PROMPT_ID = "code_suggestions/generations"
_V1_TOKENS = 2048


@router.post("/v2/code/completions", summary="Fill in the middle", response=CodeAnswer)
@router.post(
    "/v2/completions",
    summary="Fill in the middle (alias)",
    response=CodeAnswer,
    operation_id="gateway_views_code_completions_alias",
)
@describes(*GATES, *ASKING, stream=RAW_STREAM)
async def completions(
    request: GatewayRequest, payload: Body[CompletionRequest]
) -> HttpResponseBase:
    candidates = _candidates(request, payload, _COMPLETIONS, _COMPLETIONS_DIALECT)
    context = "\n".join(item.content for item in payload.context)
    render_for = with_inputs(completion_inputs(payload.current_file, context))
    if written := own_prompt(payload):
        wire_name = payload.model_name or ""
        render_for = as_given(_as_written(written, COMPLETION_SAMPLING, wire_name))
    question = Question(
        request.runtime.fleet, request.exchange, candidates, render_for, Lane.COMPLETION
    )
    if payload.stream:
        stream = await question.stream()
        escapes = escapes_underscores(stream.candidate.serving.family)
        return raw_stream(stream, unescape_underscores(stream) if escapes else stream)
    answer = await question.fetch()
    text = answer.text
    if escapes_underscores(answer.candidate.serving.family):
        text = text.replace("\\_", "_")
    tokens = _token_counts(request.exchange, context) if text and not written else None
    return _suggestion(payload, answer, text, _engine(payload, written), tokens)


@router.post("/v2/code/generations", summary="Code from an instruction", response=CodeAnswer)
@describes(*GATES, *ASKING, PathUnknown("", code="prompt_missing"), stream=RAW_STREAM)
async def generations(
    request: GatewayRequest, payload: Body[GenerationRequest]
) -> HttpResponseBase:
    prompt_id = payload.prompt_id or None
    if prompt_id not in {None, _GENERATIONS_PROMPT_ID}:
        raise PathUnknown(f"Prompt '{prompt_id}' not found", code="prompt_missing")
    candidates = _candidates(request, payload, _GENERATIONS, _GENERATIONS_DIALECT)
    is_direct = prompt_id is None and payload.model_provider == "litellm"
    written = own_prompt(payload) if is_direct else None
    if written:
        sampling = chat_sampling(payload.model_name or "")
        render_for = as_given(_as_chat(written, sampling))
    else:
        render_for = with_inputs(generation_inputs(payload.current_file, _instruction(payload)))
    question = Question(request.runtime.fleet, request.exchange, candidates, render_for, Lane.CHAT)
    if payload.stream:
        return raw_stream(await question.stream())
    answer = await question.fetch()
    text = tidy_generation(answer.text, payload.current_file.content_above_cursor)
    return _suggestion(payload, answer, text, _engine(payload, written))


def completion_inputs(current_file: EditedFile, context: str) -> dict[str, str]:
    """Return the inputs of the completion prompt."""
    return {
        "prefix": current_file.content_above_cursor,
        "suffix": current_file.content_below_cursor,
        "file_name": current_file.file_name,
        "language": detect_language(current_file.file_name, current_file.language_identifier),
        "context": context,
    }


def generation_inputs(current_file: EditedFile, instruction: str) -> dict[str, str]:
    """Return the inputs of the generation prompt; the language is the editor's word."""
    return {
        "prefix": current_file.content_above_cursor,
        "instruction": instruction,
        "language": current_file.language_identifier or "",
        "file_name": current_file.file_name,
    }


def _as_written(written: WrittenPrompt, sampling: Sampling, wire_name: str) -> Completion:
    """Return a caller's own prompt: a text to continue, or messages."""
    if isinstance(written, str):
        return Completion(sampling, text=fitting_text(written, wire_name))
    return _as_chat(written, sampling)


def _as_chat(written: WrittenPrompt, sampling: Sampling) -> Completion:
    if isinstance(written, str):
        return Completion(sampling, messages=(Message("user", written),))
    return Completion(
        sampling, messages=tuple(Message(item.role, item.content) for item in written)
    )


def _candidates(
    request: GatewayRequest, payload: AnyCodeRequest, access: Access, dialect: str
) -> tuple[Candidate, ...]:
    exchange, runtime = request.exchange, request.runtime
    exchange.feature = access.feature or ""
    decision = decide(
        runtime.snapshot,
        exchange.caller,
        access,
        caller_model=_caller_model(payload, dialect),
        policy=runtime.options.model_metadata,
    )
    return decision.require()


def _caller_model(payload: AnyCodeRequest, dialect: str) -> CallerModel | None:
    """Return the model the caller names; None if it names none, or leaves it to a vendor."""
    if payload.model_provider not in {None, *SELF_HOSTED_PROVIDERS}:
        return None
    if not (payload.model_name or payload.model_endpoint or payload.model_identifier):
        return None
    return CallerModel(
        name=payload.model_name or "general",
        endpoint=payload.model_endpoint,
        api_key=payload.model_api_key,
        identifier=payload.model_identifier or "",
        provider=dialect,
        loc=("body", payload.prompt_version, "model_endpoint"),
    )


def _instruction(payload: AnyCodeRequest) -> str:
    """Return what the user asked for; version 1 has no prompt, so the code itself asks."""
    written = own_prompt(payload)
    if written is None:
        code = cut_to_tokens(payload.current_file.content_above_cursor, _V1_TOKENS, keep="end")
        return f"```\n{code}\n```"
    if isinstance(written, str):
        return written
    return "\n\n".join(item.content for item in written)


def _token_counts(exchange: Exchange, context: str) -> dict[str, int | None] | None:
    """Return what the model server counted, None if it did not; the context is our estimate."""
    usage, sent = exchange.usage, estimate_tokens(context)
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "context_tokens_sent": sent,
        "context_tokens_used": None if "context" in exchange.cut_inputs else sent,
    }


def _engine(payload: AnyCodeRequest, written: WrittenPrompt | None) -> str:
    """Return who the wire says has answered: the provider, if it was sent the caller's prompt."""
    return (payload.model_provider if written else None) or "agent"


def _suggestion(
    payload: AnyCodeRequest,
    answer: Answer,
    text: str,
    engine: str,
    tokens: dict[str, int | None] | None = None,
) -> HttpResponse:
    current_file = payload.current_file
    choices: list[dict[str, Any]] = []
    if text:
        choices.append({"text": text, "index": 0, "finish_reason": "length"})
    return json_response(
        {
            "id": "id",
            "model": {
                "engine": engine,
                "name": answer.candidate.prompt.title,
                "lang": detect_language(current_file.file_name, current_file.language_identifier),
                "tokens_consumption_metadata": tokens,
            },
            "experiments": [],
            "object": "text_completion",
            "created": int(time.time()),
            "choices": choices,
        }
    )
