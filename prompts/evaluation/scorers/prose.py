"""Scorers of what an answer says, and of its form."""

import re
from collections.abc import Mapping
from typing import Any

from prompts.evaluation.scorers.base import TEXTS, scorer
from prompts.evaluation.suite import GivenAnswer
from prompts.inputs import texts_in

#: A shorter text that was sent may well be the right answer, unless it is a whole input.
MIN_ECHOED_CHARS = 24
ECHOED_SHARE = 0.85

_REFUSALS = re.compile(
    r"\b(?:can ?not|can['\u2019]t|could not|unable|unfortunately|sorry|no access|not able"
    r"|do not know|don['\u2019]t know|do not have|don['\u2019]t have|nothing to do with"
    r"|not (?:related|about)|no (?:such|information|way to know))\b",
    re.IGNORECASE,
)
_POINT = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+\S", re.MULTILINE)
_FENCE = re.compile(r"^\s*```\w*", re.MULTILINE)

#: Words that nearly every sentence of a language has and the others have not.
_FUNCTION_WORDS = {
    "en": "the and is of to in that it for with are this",
    "de": "der die das und ist nicht ein eine zu mit auf den wird",
    "fr": "le la les et est une des pour dans que pas sur avec",
    "es": "el los las y es una para con que por del se en",
}
_SCRIPTS = {
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "ru": re.compile(r"[\u0400-\u04ff]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
}


@scorer("is_not_empty", {"const": True})
def is_not_empty(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    return "" if answer.text.strip() else "says nothing"


@scorer("is_no_echo", {"const": True})
def is_no_echo(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    """Refuse what was sent, sent back: small models like to say the prompt, or a part of it."""
    texts = [text for value in inputs.values() for text in texts_in(value)]
    source = _words("\n".join([answer.prompt, *texts]))
    lines = [_words(line) for line in _FENCE.sub("", answer.text).splitlines()]
    said = sum(map(len, lines))
    echoed = sum(len(line) for line in lines if line in source)
    is_echo = said >= MIN_ECHOED_CHARS and echoed >= ECHOED_SHARE * said
    is_input = " ".join(filter(None, lines)) in {*map(_words, texts), _words(" ".join(texts))}
    return "repeats what it was given" if is_echo or is_input else ""


@scorer(
    "mentions",
    {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [{"type": "string", "minLength": 1}, TEXTS]},
    },
)
def mentions(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    """Want every item, or of an item that is a list any one; case and spacing do not matter."""
    text = _words(answer.text)
    for item in wanted:
        alternatives = [item] if isinstance(item, str) else item
        if not any(_is_in(text, word) for word in alternatives):
            return f"does not mention {' or '.join(alternatives)}"
    return ""


def _is_in(text: str, wanted: str) -> bool:
    """Look for the start of a word, or for a whole one if it is written with a space after it."""
    pattern = re.escape(_words(wanted))
    if wanted[0].isascii() and wanted[0].isalnum():  # others may write words without spaces
        pattern = rf"(?<!\w){pattern}"
    if wanted.endswith(" "):
        pattern = rf"{pattern}(?!\w)"
    return re.search(pattern, text) is not None


@scorer("avoids", TEXTS)
def avoids(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    text = _words(answer.text)
    found = [word for word in wanted if _is_in(text, word)]
    return f"mentions {', '.join(found)}" if found else ""


@scorer(
    "length",
    {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            name: {"type": "integer", "minimum": 1}
            for name in ("least_words", "most_words", "most_chars", "most_sentences")
        },
    },
)
def length(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    words, chars = len(answer.text.split()), len(answer.text)
    sentences = len(re.findall(r"[.!?](?=\s|$)", answer.text.strip()))
    if words < wanted.get("least_words", 0):
        return f"has {words} words, less than {wanted['least_words']}"
    counts = {"most_words": words, "most_chars": chars, "most_sentences": sentences}
    for name, count in counts.items():
        if count > wanted.get(name, count):
            return f"has {count} {name.removeprefix('most_')}, more than {wanted[name]}"
    return ""


@scorer("has_lines", TEXTS)
def has_lines(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    """Want these lines, in this order, whatever stands between them."""
    lines = iter([_words(line) for line in answer.text.splitlines()])
    for line in wanted:
        if _words(line) not in lines:  # goes on from the line found before
            return f"has no line '{line}' where it belongs"
    return ""


@scorer(
    "points",
    {
        "type": "object",
        "additionalProperties": False,
        "required": ["least", "most"],
        "properties": {"least": {"type": "integer"}, "most": {"type": "integer"}},
    },
)
def points(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    count = len(_POINT.findall(answer.text))
    is_right = wanted["least"] <= count <= wanted["most"]
    return "" if is_right else f"has {count} points, not {wanted['least']} to {wanted['most']}"


@scorer("fences", {"type": "integer", "minimum": 1})
def fences(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    count = len(_FENCE.findall(answer.text)) // 2
    return "" if count >= wanted else f"has {count} fenced blocks, less than {wanted}"


@scorer("written_in", {"enum": [*_FUNCTION_WORDS, *_SCRIPTS]})
def written_in(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    """Tell the natural language by its script, or by the small words it cannot do without."""
    if wanted in _SCRIPTS:
        letters = [char for char in answer.text if char.isalpha()]
        share = sum(bool(_SCRIPTS[wanted].match(char)) for char in letters) / max(len(letters), 1)
        return "" if share > 0.2 else f"is not written in {wanted}"
    words = re.findall(r"[^\W\d_]+", answer.text.lower())
    counts = {
        language: sum(word in set(small.split()) for word in words)
        for language, small in _FUNCTION_WORDS.items()
    }
    is_most = counts[wanted] > 0 and counts[wanted] == max(counts.values())
    return "" if is_most else f"is not written in {wanted}"


@scorer("cites", TEXTS)
def cites(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    """Want a link or path to one of these pages."""
    is_cited = any(page in answer.text for page in wanted)
    return "" if is_cited else f"does not cite {' or '.join(wanted)}"


@scorer("refuses", {"const": True})
def refuses(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    return "" if _REFUSALS.search(answer.text) else "does not say that it cannot"


@scorer("answers_within_s", {"type": "number", "exclusiveMinimum": 0})
def answers_within_s(answer: GivenAnswer, inputs: Mapping[str, Any], wanted: Any) -> str:
    is_late = answer.latency_s > wanted
    return f"took {answer.latency_s:.1f} s, more than {wanted:g} s" if is_late else ""


def _words(text: str) -> str:
    """Return a text without what does not matter: case, and how it is spaced."""
    return " ".join(text.casefold().split())
