"""What a scorer is: a small pure function with a name, found by the suites that use it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator

from prompts.evaluation.suite import GivenAnswer

#: Takes an answer, the inputs of its case and what the suite wants; returns what is wrong, or "".
Judge = Callable[[GivenAnswer, Mapping[str, Any], Any], str]


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """One kind of rule.

    Attributes:
        name: The key in a suite.
        judge: The rule.
        wanted: Holds what a suite writes under the key to its form.
        executes: Whether it runs what a model wrote, which an operator must allow.
    """

    name: str
    judge: Judge
    wanted: Draft202012Validator
    executes: bool = False


#: By name; filled by `scorer` when the modules beside this one are imported.
SCORERS: dict[str, Scorer] = {}

TEXTS = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}


def scorer(
    name: str, wanted: Mapping[str, Any], *, executes: bool = False
) -> Callable[[Judge], Judge]:
    """Register the decorated function as a scorer.

    Args:
        name: The key in a suite.
        wanted: JSON Schema of what stands under the key.
        executes: Whether it runs what a model wrote.
    """

    def register(judge: Judge) -> Judge:
        SCORERS[name] = Scorer(name, judge, Draft202012Validator(dict(wanted)), executes)
        return judge

    return register
