"""Scorers of JSON answers."""

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from prompts.contract import AnswerContract
from prompts.errors import OutputInvalid
from prompts.evaluation.scorers.base import scorer
from prompts.evaluation.suite import GivenAnswer

_VALUE = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        "one_of": {"type": "array", "minItems": 1},
        "least": {"type": "number"},
        "most": {"type": "number"},
        "items": {"type": "integer", "minimum": 0},
    },
}


@scorer("fits_schema", Draft202012Validator.META_SCHEMA)
def fits_schema(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    try:
        _object_in(answer.text, wanted)
    except OutputInvalid as error:
        return error.problem
    return ""


@scorer("values", {"type": "object", "minProperties": 1, "additionalProperties": _VALUE})
def values(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    """Want what stands at each place of the object, as in `reviewers.0.username`."""
    try:
        document = _object_in(answer.text, {})
    except OutputInvalid as error:
        return error.problem
    for place, rule in wanted.items():
        value = _at(document, place)
        if problem := _value_problem(value, rule):
            return f"{place} {problem}"
    return ""


def _object_in(text: str, schema: Mapping[str, Any]) -> Any:
    accepted = AnswerContract(Draft202012Validator(dict(schema))).accept(text, {})
    return json.loads(accepted)


def _at(document: Any, place: str) -> Any:
    for step in place.split("."):
        try:
            document = document[int(step) if isinstance(document, list) else step]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return document


def _value_problem(value: Any, rule: Mapping[str, Any]) -> str:
    if "one_of" in rule and value not in rule["one_of"]:
        return f"is not one of {json.dumps(rule['one_of'])}"
    if "items" in rule and (not isinstance(value, list) or len(value) != rule["items"]):
        return f"has not {rule['items']} items"
    if "least" in rule or "most" in rule:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number:
            return "is no number"
        if value < rule.get("least", value) or value > rule.get("most", value):
            return "is outside its bounds"
    return ""
