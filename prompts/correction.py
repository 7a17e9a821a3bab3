"""Asking a model a second time, when its JSON answer could not be used. Pure."""

from dataclasses import replace

from prompts.render import RenderedPrompt, tokens_of
from prompts.tokens import cut_to_tokens
from selfhosted_models.serving_formats.base import Completion, Message

_REQUEST = (
    "That answer cannot be used: {problem}. Answer again, with one correct JSON object and nothing "
    "else."
)


def ask_again(rendered: RenderedPrompt, answer: str, problem: str) -> Completion | None:
    """Return the request with the answer and what is wrong with it; None if there is no room.

    Args:
        rendered: What was asked, from a definition with a contract.
        answer: What the model said; as much of it is quoted as fits.
        problem: As `OutputInvalid.problem` says it.
    """
    definition, completion = rendered.definition, rendered.completion
    if definition is None or definition.contract is None:
        return None
    request, opening = _REQUEST.format(problem=problem), definition.contract.opening
    quoted = definition.control_tokens.neutralise_text(answer)
    if rendered.limit_tokens is not None:
        room = rendered.limit_tokens - tokens_of(_corrected(completion, "", request, opening))
        if room < 0:
            return None
        quoted = cut_to_tokens(quoted, room)
    return _corrected(completion, quoted, request, opening)


def _corrected(completion: Completion, quoted: str, request: str, opening: str) -> Completion:
    if completion.text is not None:
        tail = f"{quoted}\n\n{request}\n\nJSON:\n```json\n{opening}"
        return replace(completion, text=completion.text + tail)
    *turns, last = completion.messages
    begun = [last] if last.role == "assistant" else []
    if not begun:
        turns.append(last)
    # Some servers refuse a turn without content.
    said = "".join(message.content for message in begun) + quoted or "(nothing)"
    turns += [Message("assistant", said), Message("user", request), *begun]
    return replace(completion, messages=tuple(turns))
