"""What a prompt definition is, once loaded: everything rendering needs, and nothing to look up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from prompts.contract import AnswerContract
from prompts.control_tokens import ControlTokens
from selfhosted_models.serving_formats.base import Role, Sampling

#: A compiled template: values in, text out.
FillTemplate = Callable[[Mapping[str, Any]], str]


class InputType(StrEnum):
    """What a caller sends for an input; its empty value stands in when nothing is sent."""

    STRING = "string"
    INTEGER = "integer"
    LIST = "list"
    MESSAGES = "messages"
    OBJECT = "object"


class Keep(StrEnum):
    """Which part of an input survives a cut."""

    START = "start"
    END = "end"
    NEWEST = "newest"  # of a conversation: the oldest turns go first


class Output(StrEnum):
    """What the model is asked to answer with, so that what reads it knows what to expect."""

    TEXT = "text"
    CODE = "code"
    JSON = "json"
    REACT = "react"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of a prompt.

    Attributes:
        name: How callers and templates call it.
        type: What it must be.
        is_required: Whether a caller must send it; it may still be empty.
        default: Its value when it is not sent.
        max_chars: Most characters of text in it, all items together; None for no limit.
        max_items: Most items of a list, messages or an object; None for no limit.
        max_value: Most that an integer may be; None for no limit. The least is 1.
    """

    name: str
    type: InputType
    is_required: bool
    default: Any
    max_chars: int | None
    max_items: int | None
    max_value: int | None = None


@dataclass(frozen=True, slots=True)
class TruncationRule:
    """How one input may be cut.

    Attributes:
        input: Its name.
        keep: The part that stays.
        at_most_tokens: A limit that holds whether or not there would be room for more.
    """

    input: str
    keep: Keep
    at_most_tokens: int | None


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """One message, filled from the inputs. A last one of the assistant starts its answer."""

    role: Role
    fill: FillTemplate


@dataclass(frozen=True, slots=True)
class Conversation:
    """Where the messages a caller sent are put."""

    input: str


@dataclass(frozen=True, slots=True)
class FillInMiddleTemplate:
    """Code with a gap: what stands before it, and what after it, filled from the inputs."""

    prefix: FillTemplate
    suffix: FillTemplate


@dataclass(frozen=True, slots=True, eq=False)
class PromptDefinition:
    """One version of a prompt for one variant, ready to render.

    Attributes:
        prompt: The feature id, or the folder of a wire prompt.
        variant: A family id, or a wire name with a behaviour of its own.
        version: Semantic version.
        title: The name shown to people, and to GitLab as the model's name.
        digest: Changes exactly when the prompt does.
        inputs: By name. What else a caller sends is ignored.
        messages: The chat to send; empty when `text` is set.
        text: The one text to continue, for models without chat.
        fill_in_middle: The same in parts, for servers that fill a gap themselves; None for others.
        sampling: How the model is asked to answer.
        budget_tokens: Most tokens to send, whatever the model could take; None for no such limit.
        truncation: What is cut when it does not fit, first to last. Nothing else is cut.
        control_tokens: What must not enter through values.
        output: What the model is asked to answer with.
        contract: What that answer is held to; set exactly where it is JSON.
    """

    prompt: str
    variant: str
    version: str
    title: str
    digest: str
    inputs: Mapping[str, InputSpec]
    messages: tuple[MessageTemplate | Conversation, ...]
    text: FillTemplate | None
    fill_in_middle: FillInMiddleTemplate | None
    sampling: Sampling
    budget_tokens: int | None
    truncation: tuple[TruncationRule, ...]
    control_tokens: ControlTokens
    output: Output
    contract: AnswerContract | None
