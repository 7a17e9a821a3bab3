"""Whether a received file is the index its manifest promises: looked at before anyone searches it.

The hash comes first. SQLite's own checks pass files whose bytes were changed, and files that hold
something else altogether.
"""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from docsearch.errors import IndexRejected, IndexUnusable
from docsearch.index import DocsIndex
from docsearch.manifest import Manifest, sha256_of
from docsearch.results import Outcome
from docsearch.search import search_index

#: Pages whose titles are asked for.
_KNOWN_QUESTIONS = 5


def verify_index(file: Path, manifest: Manifest) -> None:
    """Pass if `file` is what a verified manifest says, and can be searched.

    Raises:
        IndexRejected: It is not, or cannot; the message says which.
    """
    if sha256_of(file) != manifest.sha256:
        raise rejected(manifest, "its bytes are not those that were signed")
    try:
        with closing(DocsIndex(file)) as index:
            if index.facts.gitlab_version != manifest.version:
                raise rejected(manifest, f"it is of GitLab {index.facts.gitlab_version}")
            if not any(_finds_something(index, question) for question in _known_questions(index)):
                raise rejected(manifest, "it does not find its own pages by their titles")
    except IndexUnusable as error:
        raise rejected(manifest, f"it cannot be searched ({error})") from error


def rejected(manifest: Manifest, reason: str) -> IndexRejected:
    """Return the error that says why an index is not taken."""
    return IndexRejected(
        f"The index of GitLab {manifest.version}'s documentation is rejected: {reason}. Nothing "
        "was changed. Fetch or build it again; if it is rejected again, ask its publisher."
    )


def _known_questions(index: DocsIndex) -> Iterable[str]:
    step = max(1, index.facts.page_count // _KNOWN_QUESTIONS)
    with index.reading() as connection:
        rows = connection.execute(
            "SELECT title FROM pages WHERE id % ? = 1 % ? LIMIT ?", (step, step, _KNOWN_QUESTIONS)
        )
        return [title for (title,) in rows]


def _finds_something(index: DocsIndex, question: str) -> bool:
    result = search_index(index, question, limit=1)
    return result.outcome is Outcome.STOPPED or bool(result.passages)
