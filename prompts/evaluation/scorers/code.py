"""Scorers of code: what it parses as, what it keeps, and what it does."""

import re
from collections.abc import Mapping
from typing import Any

from prompts.evaluation.sandbox import run_tests
from prompts.evaluation.scorers.base import TEXTS, scorer
from prompts.evaluation.suite import GivenAnswer
from prompts.evaluation.syntax import GRAMMARS, parses_as

_LANGUAGE = {"enum": sorted(GRAMMARS)}
_BLOCK = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)
_PAIR = re.compile(
    r"<old_code>\n?(.*?)\n?</old_code>\s*<new_code>\n?(.*?)\n?</new_code>", re.DOTALL
)


def code_of(text: str) -> str:
    """Return the code in an answer: what is in its fenced blocks, or all of it without any."""
    blocks = _BLOCK.findall(text)
    return "\n".join(blocks) if blocks else text


@scorer("parses", _LANGUAGE)
def parses(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    is_good = parses_as(wanted, code_of(answer.text))
    return "" if is_good else f"does not parse as {wanted}"


@scorer("stitches", _LANGUAGE)
def stitches(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    """Want the code around the cursor to parse with the answer put in."""
    is_good = parses_as(wanted, _in_place(answer, inputs))
    return "" if is_good else f"does not parse as {wanted} with the code around it"


@scorer("keeps", TEXTS)
def keeps(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    """Want these identifiers in the code, as whole words."""
    code = code_of(answer.text)
    lost = [name for name in wanted if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", code)]
    return f"lacks {', '.join(lost)}" if lost else ""


@scorer("passes", {"type": "string", "minLength": 1}, executes=True)
def passes(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    """Want these Python tests to pass after the code, put where it belongs."""
    return run_tests(f"{_in_place(answer, inputs)}\n\n{wanted}")


@scorer(
    "replaces",
    {
        "type": "object",
        "required": ["language"],
        "additionalProperties": False,
        "properties": {"language": _LANGUAGE, "without": TEXTS, "with": TEXTS},
    },
)
def replaces(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    """Want pairs of old and new code that can be put into the source, and what that leads to."""
    pairs = _PAIR.findall(answer.text)
    source = inputs["source_code"]
    if not pairs:
        return "has no pair of old_code and new_code"
    for old, new in pairs:
        if not old.strip() or old not in source:
            return "has old_code that the source does not have"
        source = source.replace(old, new, 1)
    if not parses_as(wanted["language"], source):
        return f"leaves a file that does not parse as {wanted['language']}"
    left = [text for text in wanted.get("without", ()) if text in source]
    lost = [text for text in wanted.get("with", ()) if text not in source]
    if left:
        return f"leaves {', '.join(left)} in the file"
    return f"leaves the file without {', '.join(lost)}" if lost else ""


def _in_place(answer: GivenAnswer, inputs: Mapping[str, Any]) -> str:
    return f"{inputs.get('prefix', '')}{code_of(answer.text)}{inputs.get('suffix', '')}"
