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

#: A label as models write it: any case, perhaps in bold or as a heading, `Final Answer:` or
#: `**Final Answer**:` alike.
_FINAL_ANSWER = re.compile(r"(?P<bold>\*\*)?\bfinal[ _]answer(?:\*\*)?[ \t]*:", re.IGNORECASE)
_ACTION = re.compile(r"(?:\*\*)?\baction(?:\*\*)?[ \t]?:", re.IGNORECASE)
_ACTION_INPUT = re.compile(r"(?:\*\*)?\baction[ _]input(?:\*\*)?[ \t]?:", re.IGNORECASE)
#: What a model may write after its answer or its action, as if it were its own user.
_NEXT_STEP = re.compile(
    r"\n[ \t]*(?:\*\*)?(?:thought|observation|action)(?:\*\*)?[ \t]*:", re.IGNORECASE
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
        self._answer_from: int | None = None
        self._given = 0  # characters of the answer that were handed out
        self._is_answered = False  # the model went on with a next step: nothing more is the answer

    def feed(self, text: str) -> Iterator[FinalAnswerDelta]:
        """Take the next piece and yield what of the answer is certain by now.

        Raises:
            AnswerTooLong: More than 128 Ki characters were said.
        """
        self._said += text
        if len(self._said) > MAX_ANSWER_CHARS:
            raise AnswerTooLong("answer")
        yield from self._advance(is_end=False)

    def finish(self) -> Iterator[AgentEvent]:
        """Yield what is left once the model has stopped: the rest, or the one event there is."""
        yield from self._advance(is_end=True)
        if self._answer_from is None:
            yield _action_in(self._said) or Unknown(self._said.strip())

    def _advance(self, *, is_end: bool) -> Iterator[FinalAnswerDelta]:
        if self._answer_from is None:
            self._answer_from = _start_of_answer(self._said, is_end=is_end)
        if self._answer_from is None or self._is_answered:
            return
        answer = self._said[self._answer_from :].lstrip()
        if step := _NEXT_STEP.search(answer):
            answer, self._is_answered = answer[: step.start()], True
        elif not is_end:
            answer = answer[: len(answer) - _held_back(answer)]
        answer = answer.rstrip()
        if len(answer) > self._given:
            yield FinalAnswerDelta(answer[self._given :])
            self._given = len(answer)


def _start_of_answer(said: str, *, is_end: bool) -> int | None:
    """Return where the answer begins, None while that is not known."""
    label = _FINAL_ANSWER.search(said)
    if label is None:
        return None
    if not label["bold"] or said[label.end() - 3 : label.end() - 1] == "**":
        return label.end()
    # `**Final Answer:` is closed by `**`, which may not have come yet.
    rest = said[label.end() :]
    if rest.startswith("**"):
        return label.end() + 2
    return label.end() if is_end or len(rest) >= 2 else None


def _held_back(answer: str) -> int:
    """Return how many characters at the end may turn out to be the label of a next step."""
    start = answer.rfind("\n")
    if start < 0:
        return 0
    line = answer[start + 1 :].lstrip(" \t").removeprefix("**").removeprefix("*").lower()
    begun = line.replace("**", "").replace(" ", "")
    could_be_label = any(word.startswith(begun) for word in _NEXT_STEP_WORDS)
    return len(answer) - start if could_be_label else 0


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
