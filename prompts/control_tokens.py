"""Keeping a model's control tokens out of what callers send.

A model server turns `<|fim_suffix|>` or `[/INST]` into the token that steers the model wherever it
stands in the text, so a value holding one could end its own part of the prompt. A space after the
token's first character leaves plain text that reads the same.
"""

from collections.abc import Iterable, Mapping
from typing import Any


class ControlTokens:
    """The strings that must not enter a prompt through its values.

    They hold no white space and at least two characters: then an inserted space breaks every
    occurrence and can complete no other.
    """

    __slots__ = ("tokens",)

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = tuple(dict.fromkeys(tokens))

    def neutralise_text(self, text: str) -> str:
        """Return `text` with every control token broken by a space.

        Plain searches: an expression of all tokens costs a hundred times more on a text of `<`.
        """
        present = [token for token in self.tokens if token in text]
        while present:  # a second round for tokens that overlap themselves or another
            for token in present:
                text = text.replace(token, f"{token[0]} {token[1:]}")
            present = [token for token in present if token in text]
        return text

    def neutralise(self, value: Any) -> Any:
        """Return `value`, lists and mappings copied, with every text in it neutralised."""
        match value:
            case str():
                return self.neutralise_text(value)
            case Mapping():
                return {self.neutralise(key): self.neutralise(item) for key, item in value.items()}
            case list() | tuple():
                return tuple(self.neutralise(item) for item in value)
            case _:
                return value
