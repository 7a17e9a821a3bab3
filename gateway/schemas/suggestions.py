"""Body of `/v3/code/completions` and `/v4/code/suggestions`. Source: wire contract, section 2.9."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from gateway.schemas.code import (
    AnsweringModel,
    AnswerModel,
    CodeChoice,
    PromptMessages,
    Source,
    Text255,
    Text1024,
    WireModel,
)

Instruction = Annotated[str, StringConstraints(max_length=400_000)]


class _EditorPayload(WireModel):
    file_name: Text255
    content_above_cursor: Source
    content_below_cursor: Source
    language_identifier: Text255 | None = None
    model_provider: Literal["vertex-ai", "anthropic"] | None = None
    stream: bool = False


class CompletionPayload(_EditorPayload):
    choices_count: int = 0
    model_name: str | None = None
    prompt: str | PromptMessages | None = None


class GenerationPayload(_EditorPayload):
    prompt: Instruction | None = None
    prompt_id: str | None = None
    prompt_enhancer: dict[str, Any] | None = None


class ContextPayload(WireModel):
    type: Text1024
    name: Text1024
    content: Source


class ComponentMetadata(WireModel):
    source: Text255
    version: Text255


class _Component(WireModel):
    metadata: ComponentMetadata | None = None


class CompletionComponent(_Component):
    type: Literal["code_editor_completion"]
    payload: CompletionPayload


class GenerationComponent(_Component):
    type: Literal["code_editor_generation"]
    payload: GenerationPayload


class ContextComponent(_Component):
    type: Literal["code_context"]
    payload: ContextPayload


Component = Annotated[
    CompletionComponent | GenerationComponent | ContextComponent, Field(discriminator="type")
]


class SuggestionRequest(WireModel):
    prompt_components: list[Component] = Field(min_length=1, max_length=100)


class SuggestionMetadata(AnswerModel):
    model: AnsweringModel
    timestamp: int


class SuggestionAnswer(AnswerModel):
    """An empty answer has no choice."""

    choices: Annotated[list[CodeChoice], Field(max_length=1)]
    metadata: SuggestionMetadata
