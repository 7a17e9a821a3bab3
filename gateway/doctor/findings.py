"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a hop is; `SKIPPED` is one that is not used here, or that another failure hides."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one thing.

    Attributes:
        check: Id of the check; stable.
        subject: What was looked at.
        evidence: What was seen.
        remedy: What to do; "" where nothing is to be done.
    """

    check: str
    subject: str
    state: State
    evidence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A finding, as a check makes it; which check that was is added by who runs it."""

    state: State
    subject: str
    evidence: str
    remedy: str = ""


def ok(subject: str, evidence: str) -> Told:
    return Told(State.OK, subject, evidence)


def skipped(subject: str, evidence: str) -> Told:
    return Told(State.SKIPPED, subject, evidence)


def warning(subject: str, evidence: str, remedy: str) -> Told:
    return Told(State.WARNING, subject, evidence, remedy)


def failed(subject: str, evidence: str, remedy: str) -> Told:
    return Told(State.FAILED, subject, evidence, remedy)
