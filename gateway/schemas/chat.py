"""Body of `/v1/chat/{chat_invokable}`. Source: wire contract, section 2.7."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from gateway.schemas.code import AnswerModel, PromptMessage, WireModel
from selfhosted_models.families import family_of_wire_name

Text100 = Annotated[str, StringConstraints(max_length=100)]
StopText = Annotated[str, StringConstraints(max_length=225)]
ChatText = Annotated[str, StringConstraints(max_length=400_000)]

#: A vendor's models, accepted because callers may name them; the choice made here answers.
VENDOR_MODELS = frozenset(
    {
        "claude-2.0",
        "claude-2.1",
        "claude-3-opus-20240229",
        "claude-3-sonnet-20240229",
        "claude-3-5-sonnet-20240620",
        "claude-3-haiku-20240307",
        "claude-3-5-haiku-20241022",
        "claude-3-5-sonnet-20241022",
    }
)


class ChatMetadata(WireModel):
    source: Text100
    version: Text100


class ChatParams(WireModel):
    """How to sample. Read for a vendor's model only, as the wire contract has it."""

    stop_sequences: (
        Annotated[list[StopText], Field(min_length=1, max_length=10, fail_fast=True)] | None
    ) = None
    temperature: Annotated[float, Field(ge=0, le=1)] = 0.2
    max_tokens_to_sample: Annotated[int, Field(ge=1, le=8192)] = 8192


class ChatPayload(WireModel):
    content: ChatText | Annotated[list[PromptMessage], Field(min_length=1, max_length=100)]
    provider: Literal["anthropic", "litellm"] | None = None
    model: str = "claude-2.0"
    params: ChatParams | None = None
    model_endpoint: str | None = None
    model_api_key: str | None = None
    model_identifier: str | None = None

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        if name in VENDOR_MODELS or family_of_wire_name(name):
            return name
        raise ValueError(f"model {name[:50]} is not known")


class ChatComponent(WireModel):
    type: Text100
    metadata: ChatMetadata
    payload: ChatPayload


class ChatRequest(WireModel):
    stream: bool = False
    prompt_components: list[ChatComponent] = Field(min_length=1, max_length=1)


class ChatAnswerMetadata(AnswerModel):
    provider: str
    model: str
    timestamp: int


class ChatAnswer(AnswerModel):
    response: str
    metadata: ChatAnswerMetadata
