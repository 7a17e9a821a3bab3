"""One registered prompt by its id, as GitLab Rails calls most features."""

from typing import Annotated

from django.http.response import HttpResponseBase
from ninja import Body, Path, Router
from pydantic import WithJsonSchema

from feature_config.catalogue import WIRE_PROMPTS, WirePrompt
from gateway.answers import Question, lane_of, with_inputs
from gateway.api_document import ASKING, GATES, RAW_STREAM, describes
from gateway.errors import PathUnknown, RequestInvalid
from gateway.gates import Access, decide
from gateway.inbound.requests import GatewayRequest
from gateway.model_metadata import ModelMetadataPolicy
from gateway.schemas.prompts import ModelMetadata, PromptRequest
from gateway.views.caller_models import model_of_metadata
from gateway.views.responses import json_response, raw_stream, raw_whole
from prompts.errors import PromptMissing, VersionConstraintInvalid, VersionUnsatisfied
from prompts.registry import PromptRegistry, variants_for
from selfhosted_models.families import family_of_wire_name

router = Router(tags=["prompts"])

#: Served by a path of their own.
_AGENT_PROMPTS = {"chat/react"}

#: Another is answered with 404, not as an invalid request.
PromptId = Annotated[
    str, WithJsonSchema({"type": "string", "enum": sorted(WIRE_PROMPTS.keys() - _AGENT_PROMPTS)})
]


@router.post("/v1/prompts/{path:prompt_id}", summary="Run a registered prompt", response=str)
@describes(*GATES, *ASKING, PathUnknown(""), stream=RAW_STREAM)
async def run_prompt(
    request: GatewayRequest, prompt_id: Path[PromptId], payload: Body[PromptRequest]
) -> HttpResponseBase:
    exchange, runtime = request.exchange, request.runtime
    policy = runtime.options.model_metadata
    # What does not exist for the caller's model is told before the gates, so they come too late.
    metadata = None if policy is ModelMetadataPolicy.IGNORE else payload.model_metadata
    wire_prompt = _find(runtime.snapshot.prompts, prompt_id, metadata, payload.prompt_version)
    exchange.feature = wire_prompt.feature or ""
    decision = decide(
        runtime.snapshot,
        exchange.caller,
        Access(
            feature=wire_prompt.feature,
            unit_primitive=wire_prompt.unit_primitive,
            prompt=wire_prompt.prompt,
            denied_detail=f"Unauthorized to access '{prompt_id}'",
            prompt_constraint=payload.prompt_version,
        ),
        caller_model=model_of_metadata(metadata),
        policy=policy,
    )
    fill, lane = with_inputs(payload.inputs), lane_of(wire_prompt.feature)
    question = Question(runtime.fleet, exchange, decision.require(), fill, lane)
    if payload.stream and not question.has_contract:
        return raw_stream(await question.stream())
    text = (await question.fetch()).text
    return raw_whole(text) if payload.stream else json_response(text)


def _find(
    registry: PromptRegistry, prompt_id: str, metadata: ModelMetadata | None, version: str | None
) -> WirePrompt:
    """Return the prompt; what does not exist, or not in that version, is told before any scope."""
    if prompt_id in _AGENT_PROMPTS:
        raise RequestInvalid(f"Prompt '{prompt_id}' is not supported", code="prompt_not_supported")
    wire_prompt = WIRE_PROMPTS.get(prompt_id)
    family = family_of_wire_name(metadata.name) if metadata else None
    is_unknown_family = metadata is not None and family is None
    if wire_prompt is None or is_unknown_family or not registry.has(wire_prompt.prompt):
        raise PathUnknown(f"Prompt '{prompt_id}' not found", code="prompt_missing")
    variants = registry.variants(wire_prompt.prompt)
    if family is not None and metadata is not None:
        variants = variants_for(family, metadata.name)
    try:
        registry.find(wire_prompt.prompt, variants, version)
    except PromptMissing as error:
        raise PathUnknown(f"Prompt '{prompt_id}' not found", code=error.code) from error
    except VersionConstraintInvalid as error:
        raise RequestInvalid("Invalid version constraint", code=error.code) from error
    except VersionUnsatisfied:
        if metadata is not None:  # else the gates tell it, of the model that answers
            raise
    return wire_prompt
