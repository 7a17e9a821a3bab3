"""Golden questions: what a site's own people ask, and the page that must answer. Pure."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from docsearch.errors import GoldenQuestionsInvalid
from docsearch.results import SearchResult

#: The page must be among so many answers: as many as Duo Chat is given.
AMONG_FIRST = 4
MAX_GOLDEN_QUESTIONS = 500
MAX_FILE_BYTES = 1024 * 1024
EXAMPLE = '- {question: "how do I …?", page: ci/x.md}'
MAX_CHARS = {"question": 300, "page": 500, "anchor": 200}


@dataclass(frozen=True, slots=True)
class GoldenEntry:
    """A question and its answer.

    Attributes:
        question: As people ask it.
        page: Path below the documentation's own folder, as in ci/yaml/README.md.
        anchor: Of the section; "" for any of the page.
    """

    question: str
    page: str
    anchor: str = ""

    def cleaned(self) -> "GoldenEntry":
        """Return it without blanks around, and with the page and anchor as passages have them."""
        page, anchor = self.page.strip(), self.anchor.strip()
        return GoldenEntry(self.question.strip(), page.lstrip("/"), anchor.lstrip("#"))


@dataclass(frozen=True, slots=True)
class GoldenFailure:
    """A question that was not answered by its page; `found` are the pages that came instead."""

    question: str
    page: str
    anchor: str
    found: tuple[str, ...]


def check_entry(entry: GoldenEntry) -> dict[str, str]:
    """Return what is wrong with an entry, by field."""
    problems = {}
    for name, most in MAX_CHARS.items():
        text = getattr(entry, name)
        if len(text) > most:
            problems[name] = f"It has {len(text)} characters; at most {most} are allowed."
        elif not text.isprintable():
            problems[name] = "It holds control characters or line breaks: write it in one line."
    if not entry.question:
        problems["question"] = "Write the question."
    if not entry.page.endswith(".md"):
        problems["page"] = (
            "Write the page's path below the documentation's folder, as in ci/yaml/README.md."
        )
    return problems


def parse_golden_questions(source: bytes) -> tuple[GoldenEntry, ...]:
    """Read a YAML file: a list of `question`, `page` and, where wanted, `anchor`.

    Raises:
        GoldenQuestionsInvalid: Each problem is told with its place.
    """
    if len(source) > MAX_FILE_BYTES:
        raise GoldenQuestionsInvalid(f"The file is larger than {MAX_FILE_BYTES:,} bytes.")
    try:
        data = yaml.safe_load(source)
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise GoldenQuestionsInvalid(
            f"The file is not YAML{where}. Put questions in quotes: a ? or : means something else."
        ) from error
    if not isinstance(data, list):
        raise GoldenQuestionsInvalid("The file is not a list. Write entries as: " + EXAMPLE)
    if len(data) > MAX_GOLDEN_QUESTIONS:
        raise GoldenQuestionsInvalid(
            f"There are {len(data)} questions; at most {MAX_GOLDEN_QUESTIONS} are checked."
        )
    problems = []
    entries: dict[str, GoldenEntry] = {}
    for number, item in enumerate(data, start=1):
        entry = _entry_of(item)
        told = [entry] if isinstance(entry, str) else [*_told(entry, entries)]
        problems += [f"Question {number}: {problem}" for problem in told]
        if isinstance(entry, GoldenEntry):
            entries[entry.question] = entry
    if problems:
        raise GoldenQuestionsInvalid("\n".join(problems))
    return tuple(entries.values())


def _entry_of(item: Any) -> GoldenEntry | str:
    """Return an entry, or what is wrong with its shape."""
    if not isinstance(item, dict) or not {"question", "page"} <= item.keys() <= MAX_CHARS.keys():
        return "it needs 'question' and 'page', may have 'anchor', and nothing else."
    if not all(isinstance(value, str) for value in item.values()):
        return "its values are texts: write them in quotes."
    return GoldenEntry(**item).cleaned()


def _told(entry: GoldenEntry, entries: dict[str, GoldenEntry]) -> Iterator[str]:
    for name, problem in check_entry(entry).items():
        yield f"'{name}': {problem}"
    if entry.question in entries:
        yield f"'{entry.question}' is there twice: keep one."


def digest_of(entries: Sequence[GoldenEntry]) -> str:
    """Return what tells two sets of golden questions apart."""
    text = json.dumps([asdict(entry) for entry in entries])
    return hashlib.sha256(text.encode()).hexdigest()


def check_golden_questions(
    entries: Sequence[GoldenEntry], search: Callable[[str, int], SearchResult]
) -> list[GoldenFailure]:
    """Ask each question; return those whose page is not among the first answers.

    Args:
        entries: What must be answered.
        search: Answers a question with at most so many passages.
    """
    failures = []
    for entry in entries:
        passages = search(entry.question, AMONG_FIRST).passages
        is_found = any(
            passage.path_below_root == entry.page and entry.anchor in {"", passage.anchor}
            for passage in passages
        )
        if not is_found:
            found = tuple(
                f"{passage.path_below_root}{'#' if passage.anchor else ''}{passage.anchor}"
                for passage in passages
            )
            failures.append(GoldenFailure(entry.question, entry.page, entry.anchor, found))
    return failures
