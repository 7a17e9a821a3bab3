"""Rendering: a definition and what a caller sent become what is asked of a model. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from prompts.definition import Conversation, PromptDefinition
from prompts.errors import ContextTooLong
from prompts.inputs import accept_inputs
from prompts.tokens import TOKENS_PER_MESSAGE, estimate_tokens
from prompts.truncation import cap_values, free_tokens
from selfhosted_models.serving_formats.base import Completion, FillInMiddle, Message, Sampling


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A prompt ready to send.

    Attributes:
        completion: What to ask of the model.
        definition: Where it comes from: title, version, digest and so on; None if a caller wrote
            it.
        inputs: What the caller sent, as it was accepted and before it was cut.
        input_tokens: What it takes, as estimated.
        limit_tokens: What there was room for; None if that is not known.
        cut_inputs: The inputs that were cut to make it fit.
    """

    completion: Completion
    definition: PromptDefinition | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    input_tokens: int = 0
    limit_tokens: int | None = None
    cut_inputs: tuple[str, ...] = ()


def render(
    definition: PromptDefinition, inputs: Mapping[str, Any], *, context_tokens: int | None = None
) -> RenderedPrompt:
    """Fill a definition in. Values are data: nothing in them is read as a template.

    Args:
        definition: The prompt.
        inputs: What the caller sent; unknown names are ignored.
        context_tokens: What the model can take in and give out together; None when not known.
            An answer gets half of it at most.

    Raises:
        InputMissing: A required input was not sent.
        InputInvalid: One has the wrong type, or is too long.
        ContextTooLong: It does not fit, with everything cut that may be.
    """
    sampling = _sampling_within(definition.sampling, context_tokens)
    limit = _input_limit(definition, sampling, context_tokens)
    accepted = accept_inputs(definition, inputs)
    values = cap_values(accepted, definition.truncation)
    for attempt in count():
        completion = _fill(definition, values, sampling)
        tokens = tokens_of(completion)
        if limit is None or tokens <= limit:
            break
        # One token more, for rounding. Doubled each time, so that a value which a template
        # shows only in part cannot keep us here.
        less = free_tokens(values, definition.truncation, (tokens - limit + 1) << attempt)
        if less is None:
            raise ContextTooLong(tokens, limit)
        values = less
    cut_inputs = tuple(name for name in accepted if values[name] != accepted[name])
    return RenderedPrompt(completion, definition, accepted, tokens, limit, cut_inputs)


def fit(completion: Completion, *, context_tokens: int | None) -> RenderedPrompt:
    """Return a caller's own words as they are, with an answer of half the context at most.

    Raises:
        ContextTooLong: They leave no room for it.
    """
    sampling = _sampling_within(completion.sampling, context_tokens)
    limit = None if context_tokens is None else context_tokens - sampling.max_output_tokens
    tokens = tokens_of(completion)
    if limit is not None and tokens > limit:
        raise ContextTooLong(tokens, limit)
    fitting = replace(completion, sampling=sampling)
    return RenderedPrompt(fitting, input_tokens=tokens, limit_tokens=limit)


def _sampling_within(sampling: Sampling, context_tokens: int | None) -> Sampling:
    if context_tokens is None or sampling.max_output_tokens <= context_tokens // 2:
        return sampling
    return replace(sampling, max_output_tokens=max(context_tokens // 2, 1))


def _input_limit(
    definition: PromptDefinition, sampling: Sampling, context_tokens: int | None
) -> int | None:
    limits = [] if definition.budget_tokens is None else [definition.budget_tokens]
    if context_tokens is not None:
        limits.append(context_tokens - sampling.max_output_tokens)
    return min(limits, default=None)


def _fill(
    definition: PromptDefinition, values: Mapping[str, Any], sampling: Sampling
) -> Completion:
    gap = None
    if definition.fill_in_middle is not None:
        parts = definition.fill_in_middle
        gap = FillInMiddle(parts.prefix(values), parts.suffix(values))
    if definition.text is not None:
        return Completion(sampling, text=definition.text(values), fill_in_middle=gap)
    messages = tuple(_messages(definition, values))
    return Completion(sampling, messages=messages, fill_in_middle=gap)


def _messages(definition: PromptDefinition, values: Mapping[str, Any]) -> Iterator[Message]:
    for part in definition.messages:
        if isinstance(part, Conversation):
            yield from values[part.input]
        else:
            yield Message(part.role, part.fill(values))


def tokens_of(completion: Completion) -> int:
    """Return what a request takes, as estimated."""
    if completion.text is not None:
        return estimate_tokens(completion.text)
    return sum(
        estimate_tokens(message.content) + TOKENS_PER_MESSAGE for message in completion.messages
    )
