"""Bodies of `/openai/v1`: what of OpenAI's API is read and answered.

What would change the answer and is not offered is refused by name; other members are passed over.
Source: OpenAI API reference, chat completions, completions and models.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationInfo, field_validator

from feature_config.catalogue import FEATURES
from gateway.schemas.code import AnswerModel, WireModel

MAX_MESSAGES = 256
MAX_STOPS = 4
_SHOWN_CHARS = 40


def _join_text_parts(content: Any) -> Any:
    """Clients may send content as a list of parts; the text ones are joined."""
    if not isinstance(content, list):
        return content
    return "".join(map(_text_of_part, content))


def _text_of_part(part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind != "text":
        raise ValueError(
            f"only parts of type text are understood, not {str(kind)[:_SHOWN_CHARS]}: the models "
            "here read text"
        )
    text = part.get("text")
    if not isinstance(text, str):
        raise ValueError("a part of type text needs a text")  # noqa: TRY004 - pydantic's way
    return text


def _as_list(stop: Any) -> Any:
    if stop is None:
        return ()
    if isinstance(stop, list):
        return stop[: MAX_STOPS + 1]  # one too many is enough to be refused
    return [stop] if isinstance(stop, str) else stop


def _only_one(prompt: Any) -> Any:
    """A list is for several answers at once; of one text it is that text."""
    if isinstance(prompt, list):
        if len(prompt) != 1:
            raise ValueError("one text is completed at a time: send a text, or a list of one")
        return prompt[0]
    return prompt


def _refuse(value: Any) -> None:
    if value:
        raise ValueError("this is not offered here: leave it out")


def _refuse_but_text(value: Any) -> None:
    if value and value != {"type": "text"}:
        raise ValueError("only {'type': 'text'} is offered here: ask for JSON in the prompt")


StopText = Annotated[str, StringConstraints(min_length=1, max_length=225)]
StopTexts = Annotated[tuple[StopText, ...], Field(max_length=MAX_STOPS)]
Stops = Annotated[
    StopTexts, BeforeValidator(_as_list, json_schema_input_type=StopText | StopTexts | None)
]
OneText = Annotated[list[str], Field(min_length=1, max_length=1)]
Tokens = Annotated[int, Field(ge=1)]
NotOffered = Annotated[None, BeforeValidator(_refuse)]


class TextPart(WireModel):
    type: Literal["text"]
    text: str


class ChatMessage(WireModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        str | None,
        BeforeValidator(_join_text_parts, json_schema_input_type=str | list[TextPart] | None),
    ] = Field(default=None, validate_default=True)

    @field_validator("content")
    @classmethod
    def _only_assistants_may_say_nothing(
        cls, content: str | None, message: ValidationInfo
    ) -> str | None:
        """A turn that only called tools has no text: clients send it along with the others."""
        if content is None and message.data.get("role") != "assistant":
            raise ValueError("a message needs its content, as text")
        return content


class StreamOptions(WireModel):
    include_usage: bool = False


class OpenAIRequest(WireModel):
    """What both endpoints take. More output tokens than the model may give are cut down to those.

    Attributes:
        model: A feature id, or `deployment:<name>`.
    """

    model: Annotated[str, Field(max_length=255, examples=[*FEATURES])]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Tokens | None = None
    stop: Stops = ()
    n: Literal[1] | None = None
    logprobs: NotOffered = None

    @property
    def output_tokens(self) -> int | None:
        return self.max_tokens


class ChatCompletionRequest(OpenAIRequest):
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
    max_completion_tokens: Tokens | None = None
    tools: NotOffered = None
    functions: NotOffered = None
    response_format: Annotated[None, BeforeValidator(_refuse_but_text)] = None

    @property
    def output_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(OpenAIRequest):
    prompt: Annotated[str, BeforeValidator(_only_one, json_schema_input_type=str | OneText)]
    suffix: str | None = None
    best_of: Literal[1] | None = None
    echo: NotOffered = None


class TokenUsage(AnswerModel):
    """As the model server counted; 0 where it did not."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(AnswerModel):
    role: Literal["assistant"]
    content: str


class ChatChoice(AnswerModel):
    index: Literal[0]
    message: AnswerMessage
    finish_reason: str


class ChatCompletion(AnswerModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage


class TextChoice(AnswerModel):
    index: Literal[0]
    text: str
    logprobs: None
    finish_reason: str


class TextCompletion(AnswerModel):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: TokenUsage


class Model(AnswerModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(AnswerModel):
    object: Literal["list"]
    data: list[Model]
