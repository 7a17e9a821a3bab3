"""Code completion and generation, as GitLab's Workhorse and IDEs call them."""

import time
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from ninja import Body, Router

from feature_config.catalogue import Feature
from gateway.answers import Answer, Question, with_inputs
from gateway.gates import Access, Candidate, decide
from gateway.languages import detect_language
from gateway.model_metadata import CallerModel
from gateway.post_processing import tidy_generation
from gateway.requests import GatewayRequest
from gateway.schemas.code import AnyCodeRequest, CompletionRequest, GenerationRequest, own_prompt
from gateway.views.responses import json_response, raw_stream
from selfhosted_models.serving import CHAT_CLOCKS, COMPLETION_CLOCKS

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


@router.post("/v2/code/completions", summary="Fill in the middle")
@router.post("/v2/completions", summary="Fill in the middle (alias)", include_in_schema=False)
async def completions(
    request: GatewayRequest, payload: Body[CompletionRequest]
) -> HttpResponseBase:
    candidates = _candidates(request, payload, _COMPLETIONS, _COMPLETIONS_DIALECT)
    current_file = payload.current_file
    fill = with_inputs(
        {
            "prefix": current_file.content_above_cursor,
            "suffix": current_file.content_below_cursor,
            "file_name": current_file.file_name,
            "language": detect_language(current_file.file_name, current_file.language_identifier),
            "context": "\n".join(item.content for item in payload.context),
        }
    )
    question = Question(request.runtime.door, request.exchange, candidates, fill, COMPLETION_CLOCKS)
    if payload.stream:
        return raw_stream(await question.stream())
    answer = await question.fetch()
    return _suggestion(payload, answer, answer.text)


@router.post("/v2/code/generations", summary="Code from an instruction")
async def generations(
    request: GatewayRequest, payload: Body[GenerationRequest]
) -> HttpResponseBase:
    candidates = _candidates(request, payload, _GENERATIONS, _GENERATIONS_DIALECT)
    current_file = payload.current_file
    fill = with_inputs(
        {
            "prefix": current_file.content_above_cursor,
            "instruction": _instruction(payload),
            "language": current_file.language_identifier or "",
            "file_name": current_file.file_name,
        }
    )
    question = Question(request.runtime.door, request.exchange, candidates, fill, CHAT_CLOCKS)
    if payload.stream:
        return raw_stream(await question.stream())
    answer = await question.fetch()
    text = tidy_generation(answer.text, current_file.content_above_cursor)
    return _suggestion(payload, answer, text)


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
    """Return the model the caller names, None if it names none."""
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
    """Return what the user asked for; the messages of version 3 are joined."""
    prompt = own_prompt(payload)
    if prompt is None:
        return ""
    return prompt if isinstance(prompt, str) else "\n\n".join(item.content for item in prompt)


def _suggestion(payload: AnyCodeRequest, answer: Answer, text: str) -> HttpResponse:
    current_file = payload.current_file
    choices: list[dict[str, Any]] = []
    if text:
        choices.append({"text": text, "index": 0, "finish_reason": "length"})
    return json_response(
        {
            "id": "id",
            "model": {
                "engine": "agent",
                "name": answer.candidate.prompt.title,
                "lang": detect_language(current_file.file_name, current_file.language_identifier),
                "tokens_consumption_metadata": None,
            },
            "experiments": [],
            "object": "text_completion",
            "created": int(time.time()),
            "choices": choices,
        }
    )
