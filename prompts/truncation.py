"""Cutting values so that a prompt fits. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from prompts.definition import Keep, TruncationRule
from prompts.inputs import texts_in
from prompts.tokens import TOKENS_PER_MESSAGE, cut_to_tokens, estimate_tokens
from selfhosted_models.serving_formats.base import Message


def cap_values(values: dict[str, Any], rules: Iterable[TruncationRule]) -> dict[str, Any]:
    """Return the values with every `at_most_tokens` observed."""
    capped = dict(values)
    for rule in rules:
        if rule.at_most_tokens is not None:
            capped[rule.input] = _cut(capped[rule.input], rule.at_most_tokens, rule.keep)
    return capped


def free_tokens(
    values: dict[str, Any], rules: Iterable[TruncationRule], wanted: int
) -> dict[str, Any] | None:
    """Return the values cut, in the order of the rules, to take `wanted` tokens less.

    Returns:
        Less may be freed where there is no more to cut; None when nothing could be cut at all.
    """
    cut_values = dict(values)
    for rule in rules:
        if wanted <= 0:
            break
        before = _tokens_of(values[rule.input])
        cut_values[rule.input] = _cut(values[rule.input], before - wanted, rule.keep)
        wanted -= before - _tokens_of(cut_values[rule.input])
    return None if cut_values == values else cut_values


def _cut(value: Any, limit: int, keep: Keep) -> Any:
    if isinstance(value, str):
        return cut_to_tokens(value, limit, "start" if keep is Keep.START else "end")
    if keep is Keep.NEWEST:
        return _drop_oldest(value, limit)
    return _drop_items(value, limit, keep)


def _drop_items(items: tuple[Any, ...], limit: int, keep: Keep) -> tuple[Any, ...]:
    """Drop whole items; of the one left, when it is an object, only the end of its longest text.

    What a tool has just found is such an object, and often longer than all there is room for.
    """
    excess = _tokens_of(items) - limit
    kept = list(items)
    while kept and excess > 0:
        item = kept.pop(-1 if keep is Keep.START else 0)
        if not kept and (shorter := _shorten(item, excess)):
            return (shorter,)
        excess -= _tokens_of(item)
    return tuple(kept)


def _shorten(item: Any, excess: int) -> dict[str, Any] | None:
    """Return an object with so many tokens less in its longest text, None if that has not them."""
    texts = {}
    if isinstance(item, Mapping):
        texts = {name: text for name, text in item.items() if isinstance(text, str)}
    name = max(texts, key=lambda name: len(texts[name]), default=None)
    if name is None or (room := estimate_tokens(texts[name]) - excess) <= 0:
        return None
    return {**item, name: cut_to_tokens(texts[name], room)}


def _drop_oldest(messages: tuple[Message, ...], limit: int) -> tuple[Message, ...]:
    """Drop the oldest turns, each a question with its answers.

    System messages stay, and so does everything from the last question on.
    """
    excess = _tokens_of(messages) - limit
    asked = [position for position, message in enumerate(messages) if message.role == "user"]
    last_question = asked[-1] if asked else len(messages) - 1
    kept: list[Message] = []
    is_dropping = False
    for position, message in enumerate(messages):
        if message.role != "system":
            # An answer goes with its question: models expect a question first.
            is_answer = message.role == "assistant"
            is_dropping = position < last_question and (excess > 0 or (is_dropping and is_answer))
            if is_dropping:
                excess -= _tokens_of(message)
                continue
        kept.append(message)
    return tuple(kept)


def _tokens_of(value: Any) -> int:
    match value:
        case str():
            return estimate_tokens(value)
        case Message():
            return estimate_tokens(value.content) + TOKENS_PER_MESSAGE
        case tuple():
            return sum(_tokens_of(item) for item in value)
        case _:
            return sum(estimate_tokens(text) for text in texts_in(value))
