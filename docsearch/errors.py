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


class EncoderMissing(DocsIndexError):
    """What turns texts into vectors is an extra, and not installed."""

    code = "docs_encoder_missing"


class SearchStopped(DocsIndexError):
    """A search took longer than it may."""

    code = "docs_search_stopped"
    retryable = True


class KeyInvalid(DocsIndexError):
    """A setting that should hold an Ed25519 key holds something else."""

    code = "docs_key_invalid"


class ManifestInvalid(DocsIndexError):
    """What should be an index's manifest is none, or belongs to another index."""

    code = "docs_manifest_invalid"


class SignatureInvalid(DocsIndexError):
    """Nobody who is trusted signed the manifest."""

    code = "docs_signature_invalid"


class IndexRejected(DocsIndexError):
    """The index is not what its manifest promises, or not fit to be searched."""

    code = "docs_index_rejected"


class IndexIncomplete(DocsIndexError):
    """The index ended early; what has come is kept, and the next attempt goes on from there."""

    code = "docs_index_incomplete"
    retryable = True


class DowngradeRefused(DocsIndexError):
    """The index is older than the active one of its version."""

    code = "docs_downgrade_refused"


class InstallationUnderWay(DocsIndexError):
    """Another process is installing an index on this node."""

    code = "docs_installation_under_way"
    retryable = True


class PreviousMissing(DocsIndexError):
    """There is nothing to roll back to."""

    code = "docs_previous_missing"


class RegistryRefused(DocsIndexError):
    """The package registry answered, and not with what was asked for."""

    code = "docs_registry_refused"


class ServerUnreachable(DocsIndexError):
    """The package registry, or the search engine, did not answer, or not to the end."""

    code = "docs_server_unreachable"
    retryable = True


class SearchEngineRefused(DocsIndexError):
    """The search engine answered, and not with what was asked for."""

    code = "docs_search_engine_refused"


class GoldenQuestionsInvalid(DocsIndexError):
    """A file of golden questions is not what it should be."""

    code = "docs_golden_questions_invalid"
