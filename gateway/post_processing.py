"""Tidying what a model wrote before it goes to the editor. Source: wire contract, 2.1 and 2.2."""

import re
from collections.abc import AsyncIterable, AsyncIterator

from selfhosted_models.families import ModelFamily

_OPENING_FENCE_LINE = re.compile(r"^```\w*[^\S\n]*(?:\n|\Z)", re.MULTILINE)

MIN_REPEATED_LINES = 5
#: A group this rich in punctuation, or in distinct characters, is repeated on purpose (tables, …).
_PUNCTUATION_SHARE = 0.25
_DISTINCT_SHARE = 0.35
_COMMENT_LINE = re.compile(r"\s*(#|//|--|\*|/\*|<!--|;|%)\s*\S")


def tidy_generation(text: str, content_above_cursor: str) -> str:
    """Return `text` without fences and repeated lines, beginning a line; "" if nothing is left."""
    text = _OPENING_FENCE_LINE.sub("", text).rstrip("`")
    if text and not text.startswith("\n") and not content_above_cursor.endswith("\n"):
        text = "\n" + text
    text = drop_repeated_lines(text, content_above_cursor)
    return text if text.strip() else ""


def drop_repeated_lines(text: str, above: str) -> str:
    """Drop groups of 5 or more lines in a row that stand above the cursor too.

    A comment that is the whole answer's first line and repeats the line above goes as well: models
    like to say the instruction again.
    """
    known = {line.strip() for line in above.splitlines() if line.strip()}
    lines = text.splitlines(keepends=True)
    kept: list[str] = []
    group: list[str] = []

    def end_group() -> None:
        if not _is_idle_repetition(group):
            kept.extend(group)
        group.clear()

    for line in lines:
        if line.strip() in known:
            group.append(line)
        else:
            end_group()
            kept.append(line)
    end_group()
    return _without_repeated_comment("".join(kept), known)


def _is_idle_repetition(group: list[str]) -> bool:
    if len(group) < MIN_REPEATED_LINES:
        return False
    text = "".join("".join(group).split())
    punctuation = sum(not char.isalnum() for char in text)
    return (
        punctuation / len(text) < _PUNCTUATION_SHARE
        and len(set(text)) / len(text) < _DISTINCT_SHARE
    )


def _without_repeated_comment(text: str, known: set[str]) -> str:
    body = text.lstrip("\n")
    first, newline, rest = body.partition("\n")
    if newline and first.strip() in known and _COMMENT_LINE.match(first):
        return text[: len(text) - len(body)] + rest
    return text


def escapes_underscores(family: ModelFamily) -> bool:
    r"""Tell whether models of `family` write `\_` where code has `_`."""
    return family in {ModelFamily.MIXTRAL_8X7B_INSTRUCT, ModelFamily.MIXTRAL_8X22B}


async def unescape_underscores(texts: AsyncIterable[str]) -> AsyncIterator[str]:
    r"""Yield `texts` with `_` for `\_`, wherever the pieces are cut."""
    held = ""
    async for text in texts:
        joined = held + text
        held = "\\" if joined.endswith("\\") else ""
        if ready := joined.removesuffix("\\").replace("\\_", "_"):
            yield ready
    if held:
        yield held
