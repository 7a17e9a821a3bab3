"""What a search answers with."""

from dataclasses import dataclass
from enum import StrEnum

from docsearch.versions import GitLabVersion

#: What GitLab's own gateway counts a word as.
TOKENS_PER_WORD = 1.4


class Outcome(StrEnum):
    """Why there are passages, or none."""

    FOUND = "found"
    NOTHING_FOUND = "nothing_found"
    #: Another version documents it, or it uses none of a word asked for; there may be passages.
    NOT_DOCUMENTED = "not_documented"
    NO_INDEX = "no_index"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of documentation.

    Attributes:
        path: Of the page, below the source it was built from, as in doc/ci/yaml/README.md.
        path_below_root: The same below the documentation's own folder, as in ci/yaml/README.md.
        title: Of the page.
        trail: The headings the passage stands under, outermost first; empty at the top of a page.
        anchor: Of its heading; "" at the top of a page.
        url: Of the page, with the anchor.
        content: Markdown.
        score: Higher is better; comparable within one answer.
        token_count: An estimate, by words.
    """

    path: str
    path_below_root: str
    title: str
    trail: tuple[str, ...]
    anchor: str
    url: str
    content: str
    score: float
    token_count: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one question.

    Attributes:
        outcome: Why there are passages, or none.
        reason: For people; what to do when nothing was found. Empty when something was.
        passages: Best first, of different pages.
        searched_version: Of the documentation that was searched, if any was.
        warning: That the documentation of another release was searched, or by words only although
            meaning was to count; else empty.
        match: How well the best page fits by its words, about 0 to 1; comparable between answers.
        shown_query: The question as it was searched for, when words were repaired; else empty.
    """

    outcome: Outcome
    reason: str = ""
    passages: tuple[Passage, ...] = ()
    searched_version: GitLabVersion | None = None
    warning: str = ""
    match: float = 0.0
    shown_query: str = ""


def count_tokens(text: str) -> int:
    """Estimate the tokens of `text`."""
    return int(len(text.split()) * TOKENS_PER_WORD)
