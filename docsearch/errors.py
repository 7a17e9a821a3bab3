"""What can go wrong with a documentation index. Every message says what to do."""

from typing import ClassVar


class DocsIndexError(Exception):
    """Base of this app's errors; raise a leaf.

    Attributes:
        code: Stable word for logs and machines.
        retryable: Whether the same call may succeed later.
    """

    code: ClassVar[str] = "docs_index_error"
    retryable: ClassVar[bool] = False

    @property
    def safe_message(self) -> str:
        """The message; it holds no secret and nothing of what was asked."""
        return str(self)


class SourceInvalid(DocsIndexError):
    """The documentation to index cannot be read, or is not documentation."""

    code = "docs_source_invalid"


class VersionInvalid(DocsIndexError):
    """What was given is not a version of GitLab."""

    code = "gitlab_version_invalid"


class IndexMissing(DocsIndexError):
    """No index is installed that may answer for the version."""

    code = "docs_index_missing"


class IndexUnusable(DocsIndexError):
    """The file is not an index this release can search."""

    code = "docs_index_unusable"


class SearchStopped(DocsIndexError):
    """A search took longer than it may."""

    code = "docs_search_stopped"
    retryable = True
