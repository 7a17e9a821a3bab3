"""Holding a model's JSON answer to what its prompt asks for. Pure."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from prompts.errors import OutputInvalid

#: Takes an answer that fits the schema, and the inputs; returns what of it stands.
AnswerRule = Callable[[dict[str, Any], Mapping[str, Any]], dict[str, Any]]

#: Most places of a text at which an object is looked for: prose full of braces has no end.
MAX_STARTS = 32


@dataclass(frozen=True, slots=True, eq=False)
class AnswerContract:
    """What the answer of one prompt must be, and the shape in which it is passed on.

    Attributes:
        validator: Of its schema.
        begun_with: The key whose text value the prompt itself has begun, if it has: then the answer
            goes on within that value, for callers put the two together.
        tag: Stands around the object, if set.
        rule: Judges what a schema cannot.
    """

    validator: Draft202012Validator
    begun_with: str | None = None
    tag: str | None = None
    rule: AnswerRule | None = None

    @property
    def opening(self) -> str:
        """What of the object the prompt has written, white space aside."""
        return f'{{"{self.begun_with}": "' if self.begun_with else ""

    def accept(self, text: str, inputs: Mapping[str, Any]) -> str:
        """Return the first object in `text` that fits, out of whatever fences and prose.

        Raises:
            OutputInvalid: There is none. The message holds nothing of the text.
        """
        problems: list[OutputInvalid] = []
        for document in _objects(self.opening + text):
            try:
                return self._shaped(self._judged(document, inputs))
            except OutputInvalid as problem:
                problems.append(problem)
        raise problems[0] if problems else OutputInvalid("it holds no whole JSON object")

    def _judged(self, document: dict[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        error = best_match(self.validator.iter_errors(document))
        if error is not None:
            place = ".".join(map(str, error.absolute_path)) or "the object"
            wanted = json.dumps({error.validator: error.validator_value})
            raise OutputInvalid(f"{place} does not fit {wanted}")
        return document if self.rule is None else self.rule(document, inputs)

    def _shaped(self, document: dict[str, Any]) -> str:
        if self.begun_with is not None:
            document = {self.begun_with: document[self.begun_with], **document}
        # ASCII only: half a surrogate pair, which JSON can escape, is not text.
        text = json.dumps(document)[len(self.opening) :]
        return f"<{self.tag}>\n{text}\n</{self.tag}>" if self.tag else text


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("not a number of JSON")
    return number


#: Strict where Python is not: NaN, Infinity and 1e999 are no JSON.
_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a text that are not inside another."""
    position = 0
    for _ in range(MAX_STARTS):
        position = text.find("{", position)
        if position < 0:
            return
        try:
            document, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
        else:
            yield document
