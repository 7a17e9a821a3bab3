"""Chat turns for models and servers that do not take them as they are.

Turn tokens appear only where a text is sent (`as_text`); inside a chat message they would be the
caller's way to break out of the template.
"""

from collections.abc import Sequence

from selfhosted_models.families import ModelFamily
from selfhosted_models.serving import ServingConfig
from selfhosted_models.serving_formats.base import Completion, Message

_MISTRAL = {ModelFamily.MISTRAL_7B, ModelFamily.MIXTRAL_8X7B_INSTRUCT, ModelFamily.MIXTRAL_8X22B}


def chat_messages(serving: ServingConfig, completion: Completion) -> list[dict[str, str]]:
    """Return what a chat server takes; a completion that is one text is one user message."""
    turns = completion.messages
    if completion.text is not None:
        turns = (Message("user", completion.text),)
    elif not serving.has_system_role:
        turns = fold_system(turns)
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def whole_text(serving: ServingConfig, completion: Completion) -> str:
    """Return what a text server takes; chat turns are one text in the family's template."""
    if completion.text is not None:
        return completion.text
    return as_text(completion.messages, serving.family)


def fold_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return `messages` with the system text in the first user turn, for models without the role.

    A conversation without a user turn gets one that holds the system text.
    """
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    turns = [message for message in messages if message.role != "system"]
    if not system:
        return tuple(turns)
    if turns and turns[0].role == "user":
        return (Message("user", f"{system}\n\n{turns[0].content}"), *turns[1:])
    return (Message("user", system), *turns)


def as_text(messages: Sequence[Message], family: ModelFamily) -> str:
    """Return `messages` as one text to continue, in the family's own chat template.

    A last assistant message is left open, so that the model goes on with it.
    """
    if family in _MISTRAL:
        return _mistral_text(fold_system(messages))
    if family is ModelFamily.CODEGEMMA_7B_IT:
        return _gemma_text(fold_system(messages))
    return _plain_text(messages)


def _mistral_text(turns: Sequence[Message]) -> str:
    """Source: the chat template published with Mistral-7B-Instruct and the Mixtral models."""
    parts = []
    for number, turn in enumerate(turns):
        is_last = number == len(turns) - 1
        if turn.role == "assistant":
            parts.append(f" {turn.content}" + ("" if is_last else "</s>"))
        else:
            parts.append(f"[INST] {turn.content} [/INST]")
    return "<s>" + "".join(parts)


def _gemma_text(turns: Sequence[Message]) -> str:
    """Source: the chat template published with the Gemma and CodeGemma instruction models."""
    parts = []
    for number, turn in enumerate(turns):
        role = "model" if turn.role == "assistant" else "user"
        is_open = turn.role == "assistant" and number == len(turns) - 1
        end = "" if is_open else "<end_of_turn>\n"
        parts.append(f"<start_of_turn>{role}\n{turn.content}{end}")
    if not turns or turns[-1].role != "assistant":
        parts.append("<start_of_turn>model\n")
    return "<bos>" + "".join(parts)


def _plain_text(turns: Sequence[Message]) -> str:
    """Speaker labels, which any model trained on text can continue."""
    parts = [
        turn.content if turn.role == "system" else f"{turn.role.title()}: {turn.content}"
        for turn in turns
    ]
    if not turns or turns[-1].role != "assistant":
        parts.append("Assistant:")
    return "\n\n".join(parts)
