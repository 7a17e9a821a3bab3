"""Bodies of the v2 code endpoints. Source: wire contract, sections 2.1 and 2.2."""

from typing import Annotated, Literal, Protocol

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import ValidationInfo

from selfhosted_models.families import family_of_wire_name

Text255 = Annotated[str, StringConstraints(max_length=255)]
Trimmed255 = Annotated[str, StringConstraints(max_length=255, strip_whitespace=True)]
Trimmed50 = Annotated[str, StringConstraints(max_length=50, strip_whitespace=True)]
Text50 = Annotated[str, StringConstraints(max_length=50)]
Source = Annotated[str, StringConstraints(max_length=100_000)]
Text1024 = Annotated[str, StringConstraints(max_length=1024)]
ContextText = Annotated[str, StringConstraints(max_length=500_000)]

ModelProvider = Literal["anthropic", "vertex-ai", "litellm", "codestral", "fireworks_ai"]

#: The others are vendors, whose models we neither know nor reach: the choice made here answers.
SELF_HOSTED_PROVIDERS = {"litellm", "codestral"}


class WireModel(BaseModel):
    """Members we do not know are passed over, as everywhere on the wire."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class AnswerModel(BaseModel):
    """Describes what a view answers; views build it by hand, so this costs a request nothing."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class CurrentFile(WireModel):
    file_name: Trimmed255
    language_identifier: Text255 | None = None
    content_above_cursor: Source
    content_below_cursor: Source


class Experiment(WireModel):
    name: str
    variant: int


class Telemetry(WireModel):
    model_engine: Text50 | None = None
    model_name: Text50 | None = None
    requests: int
    accepts: int
    errors: int
    lang: Text50 | None = None
    experiments: Annotated[list[Experiment], Field(fail_fast=True, max_length=100)] | None = None


class ContextItem(WireModel):
    type: Text1024
    name: Text1024
    content: ContextText


class PromptMessage(WireModel):
    role: Literal["system", "user", "assistant"]
    content: str


#: Of a prompt the caller wrote itself. One error ends the list: a body could hold a million.
PromptMessages = Annotated[list[PromptMessage], Field(fail_fast=True, max_length=256)]


class _CodeRequest(WireModel):
    project_path: Trimmed255 | None = None
    project_id: int | None = None
    current_file: CurrentFile
    model_provider: ModelProvider | None = None
    model_name: Trimmed50 | None = None
    model_endpoint: str | None = None
    model_api_key: str | None = None
    model_identifier: str | None = None
    telemetry: list[Telemetry] = Field(default_factory=list, max_length=10)
    stream: bool = False
    choices_count: int = 0
    context: list[ContextItem] = Field(default_factory=list, max_length=100)
    prompt_id: str | None = None

    @field_validator("model_name")
    @classmethod
    def _known_for_provider(cls, name: str | None, info: ValidationInfo) -> str | None:
        provider = info.data.get("model_provider")
        if name is None or provider not in SELF_HOSTED_PROVIDERS or family_of_wire_name(name):
            return name
        raise ValueError(
            f"model {name} is not supported by use case {cls._use_case()} and provider {provider}"
        )

    @classmethod
    def _use_case(cls) -> str:
        raise AssertionError("a leaf says")


class CompletionV1(_CodeRequest):
    prompt_version: Literal[1]

    @classmethod
    def _use_case(cls) -> str:
        return "code completions"


class CompletionV2(CompletionV1):
    prompt_version: Literal[2]  # type: ignore[assignment]
    prompt: str | None = None


class CompletionV3(CompletionV1):
    prompt_version: Literal[3]  # type: ignore[assignment]
    prompt: PromptMessages | None = None


class GenerationV1(_CodeRequest):
    prompt_version: Literal[1]

    @classmethod
    def _use_case(cls) -> str:
        return "code generations"


class GenerationV2(GenerationV1):
    prompt_version: Literal[2]  # type: ignore[assignment]
    prompt: str


class GenerationV3(GenerationV1):
    prompt_version: Literal[3]  # type: ignore[assignment]
    prompt: PromptMessages


class _NoDiscriminator:
    """Leaves a `discriminator` out of the document: OpenAPI's is for texts, not for numbers."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        schema.pop("discriminator", None)
        return schema


CompletionRequest = Annotated[
    CompletionV1 | CompletionV2 | CompletionV3,
    Field(discriminator="prompt_version"),
    _NoDiscriminator(),
]
GenerationRequest = Annotated[
    GenerationV1 | GenerationV2 | GenerationV3,
    Field(discriminator="prompt_version"),
    _NoDiscriminator(),
]
AnyCodeRequest = (
    CompletionV1 | CompletionV2 | CompletionV3 | GenerationV1 | GenerationV2 | GenerationV3
)


class TokenCounts(AnswerModel):
    input_tokens: int
    output_tokens: int
    context_tokens_sent: int
    context_tokens_used: int | None


class AnsweringModel(AnswerModel):
    """The prompt that answered: `name` is its title, `lang` the code's language or empty.

    `engine` is `agent`, or the provider that a caller's own prompt was sent to.
    """

    engine: str
    name: str
    lang: str


class CountedModel(AnsweringModel):
    tokens_consumption_metadata: TokenCounts | None


class CodeChoice(AnswerModel):
    text: str
    index: Literal[0]
    finish_reason: Literal["length"]


class CodeAnswer(AnswerModel):
    """Source: wire contract, 2.1. An empty answer has no choice."""

    id: Literal["id"]
    model: CountedModel
    experiments: Annotated[list[str], Field(max_length=0)]
    object: Literal["text_completion"]
    created: int
    choices: Annotated[list[CodeChoice], Field(max_length=1)]


WrittenPrompt = str | list[PromptMessage]


class EditedFile(Protocol):
    """The file an editor has open, however a body names it."""

    file_name: str
    content_above_cursor: str
    content_below_cursor: str
    language_identifier: str | None


def own_prompt(payload: AnyCodeRequest) -> WrittenPrompt | None:
    """Return the prompt the caller wrote itself, None for version 1 or where it is absent."""
    written: WrittenPrompt | None = getattr(payload, "prompt", None)
    return written
