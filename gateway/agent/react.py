"""From what a model says in the ReAct format to the events GitLab Rails acts on. Pure.

Small local models keep to the format loosely: labels run together on one line, in bold, in other
case, inside fences; tool names come in CamelCase or with spaces. All that is understood here. Text
without any label is left to the caller as it is. Source of the events: wire contract, section 2.4.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: Eight times what a model may say here; each piece is looked at with all that came before it.
MAX_ANSWER_CHARS = 128 * 1024

#: No label is longer, blanks and stars included.
LONGEST_LABEL_CHARS = 64

#: A label as models write it: any case, perhaps in bold or as a heading, `Final Answer:` or
#: `**Final Answer**:` alike.
_FINAL_ANSWER = re.compile(r"(?P<bold>\*\*)?\bfinal[ _]answer(?:\*\*)?[ \t]?:", re.IGNORECASE)
_ACTION = re.compile(r"(?:\*\*)?\baction(?:\*\*)?[ \t]?:", re.IGNORECASE)
_ACTION_INPUT = re.compile(r"(?:\*\*)?\baction[ _]input(?:\*\*)?[ \t]?:", re.IGNORECASE)
#: What a model may write after its answer or its action, as if it were its own user.
_NEXT_STEP = re.compile(
    r"\n[ \t]{0,16}(?:\*\*)?(?:thought|observation|action)(?:\*\*)?[ \t]?:", re.IGNORECASE
)
#: The longest beginning of such a label that may still be one: held back while it grows.
_NEXT_STEP_WORDS = ("thought:", "observation:", "action:")
_THOUGHT = re.compile(r"^(?:\*\*)?thought(?:\*\*)?[ \t]?:", re.IGNORECASE)
_FENCE_LINE = re.compile(r"^[ \t]*```\w*[ \t]*$", re.MULTILINE)
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class FinalAnswerDelta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """A tool the caller must run."""

    tool: str
    tool_input: str
    thought: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The whole of what was said, outside the format."""

    text: str


AgentEvent = FinalAnswerDelta | Action | Unknown


class AnswerTooLong(ValueError):
    """The model said more than any answer needs."""


class ReActParser:
    """Takes an answer piece by piece; every character of a final answer comes out exactly once."""

    def __init__(self) -> None:
        self._said = ""
        self._searched_to = 0  # no label of a final answer begins before
        self._next: int | None = None  # the first character of the answer not yet handed out
        self._is_begun = False
        self._is_answered = False  # the model went on with a next step: nothing more is the answer

    def feed(self, text: str) -> Iterator[FinalAnswerDelta]:
        """Take the next piece and yield what of the answer is certain by now.

        Raises:
            AnswerTooLong: More than 128 Ki characters were said.
        """
        self._said += text
        if len(self._said) > MAX_ANSWER_CHARS:
            raise AnswerTooLong("answer")
        if not text.isspace():  # blanks are handed out with what follows them
            yield from self._advance(is_end=False)

    def finish(self) -> Iterator[AgentEvent]:
        """Yield what is left once the model has stopped: the rest, or the one event there is."""
        yield from self._advance(is_end=True)
        if self._next is None:
            yield _action_in(self._said) or Unknown(self._said.strip())

    def _advance(self, *, is_end: bool) -> Iterator[FinalAnswerDelta]:
        if self._next is None:
            self._next = self._find_answer(is_end=is_end)
        if self._next is None or self._is_answered:
            return
        pending = self._said[self._next :]
        if not self._is_begun:
            pending = pending.lstrip()
            self._next = len(self._said) - len(pending)
        if step := _NEXT_STEP.search(pending):
            pending, self._is_answered = pending[: step.start()], True
        elif not is_end:
            pending = pending[: len(pending) - _held_back(pending)]
        if certain := pending.rstrip():
            yield FinalAnswerDelta(certain)
            self._next += len(certain)
            self._is_begun = True

    def _find_answer(self, *, is_end: bool) -> int | None:
        """Return where the answer begins, None while that is not known."""
        label = _FINAL_ANSWER.search(self._said, self._searched_to)
        if label is None:
            self._searched_to = max(0, len(self._said) - LONGEST_LABEL_CHARS)
            return None
        if not label["bold"] or label[0].endswith("**:"):
            return label.end()
        # `**Final Answer:` is closed by `**`, which may not have come yet.
        rest = self._said[label.end() :]
        if rest.startswith("**"):
            return label.end() + 2
        return label.end() if is_end or len(rest) >= 2 else None


def _held_back(pending: str) -> int:
    """Return how many characters at the end may turn out to be the label of a next step."""
    start = pending.rfind("\n")
    if start < 0 or len(pending) - start > LONGEST_LABEL_CHARS:
        return 0
    line = pending[start + 1 :].lstrip(" \t").removeprefix("**").removeprefix("*").lower()
    begun = line.replace("**", "").replace(" ", "")
    could_be_label = any(word.startswith(begun) for word in _NEXT_STEP_WORDS)
    return len(pending) - start if could_be_label else 0


def _action_in(said: str) -> Action | None:
    """Find the two labels, one search each: what stands between and after is the action."""
    label = _ACTION.search(said)
    input_label = _ACTION_INPUT.search(said, label.end()) if label else None
    if label is None or input_label is None:
        return None
    tool = said[label.end() : input_label.start()]
    rest = _NEXT_STEP.split("\n" + said[input_label.end() :].lstrip("* \t\n"), maxsplit=1)[0]
    thought = _FENCE_LINE.sub("", said[: label.start()]).strip()
    return Action(
        tool=normalise_tool(tool),
        tool_input=_FENCE_LINE.sub("", rest).strip(),
        thought=_THOUGHT.sub("", thought).strip(),
    )


def normalise_tool(name: str) -> str:
    r"""Return a tool's name as it is registered: `IssueReader` or `issue\_reader` in snake case."""
    plain = name.replace("\\_", "_").strip(" \t\n`'\"*[]().")
    words = re.split(r"[\s_-]+", _CAMEL_HUMP.sub("_", plain))
    return "_".join(word.lower() for word in words if word)
