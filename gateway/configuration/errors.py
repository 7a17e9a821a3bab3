"""Why a change of the configuration is refused. Nothing here knows a status code."""

from collections.abc import Iterable
from dataclasses import dataclass

#: The way to a value in a document: keys and list positions from the top.
Trail = tuple[str | int, ...]


class ConfigurationError(Exception):
    """Base of this package's errors; raise a leaf.

    Attributes:
        code: Stable word for logs and callers.
        safe_message: What happened and what to do; holds no secret.
        retryable: Whether the same request may succeed later.
    """

    code = "configuration_error"
    retryable = False

    def __init__(self, safe_message: str) -> None:
        super().__init__(safe_message)
        self.safe_message = safe_message


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document.

    Attributes:
        message: What is wrong and what to do; never holds a value that may be a secret.
        trail: The value at fault; empty for the document as a whole.
        line: Where it stands, from 1; None for a document that was not read from text.
    """

    message: str
    trail: Trail = ()
    line: int | None = None

    @property
    def path(self) -> str:
        """The trail for people, as in `deployments[0].family`."""
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.trail)
        return "".join(steps).removeprefix(".")

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.trail else self.message


class DocumentInvalid(ConfigurationError):
    """A document cannot be applied; nothing of it was."""

    code = "document_invalid"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("; ".join(map(str, self.problems)))


class KeyUnreadable(ConfigurationError):
    """What a document refers to as an API key is not there."""

    code = "key_unreadable"


class RevisionUnknown(ConfigurationError):
    code = "revision_unknown"


class ChangeConflict(ConfigurationError):
    """The row is not what the caller looked at when deciding on the change."""

    code = "change_conflict"


class ManagedByFile(ConfigurationError):
    """The row belongs to a configuration file, which would undo the change."""

    code = "managed_by_file"


class DeploymentInUse(ConfigurationError):
    """Features would lose what answers them."""

    code = "in_use"


class HistoryBusy(ConfigurationError):
    """Another change is being recorded and does not end."""

    code = "history_busy"
    retryable = True
