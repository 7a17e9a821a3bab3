"""What an acceptance suite is: cases for one feature, and what their answers are judged by."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from feature_config.catalogue import Feature


@dataclass(frozen=True, slots=True)
class Check:
    """One rule an answer is held to: a scorer's name, and what a suite gives it."""

    scorer: str
    wanted: Any


@dataclass(frozen=True, slots=True)
class Case:
    """One question with its rules.

    Attributes:
        id: Unique in its suite, and kept: results are compared by it.
        inputs: Of the feature's prompt, as a caller sends them.
        checks: What the answer must pass, all of them.
        reference: An answer that passes, to prove that there is one; "" where a site gave none.
    """

    id: str
    inputs: Mapping[str, Any]
    checks: tuple[Check, ...]
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """The cases of one feature.

    Attributes:
        name: Of its file.
        version: Changed whenever a case is: results of two versions are not compared.
        bar: Share of the cases that must pass, 0 to 1.
    """

    name: str
    version: str
    feature: Feature
    bar: float
    cases: tuple[Case, ...]

    @property
    def digest(self) -> str:
        """A digest that changes whenever the suite does, with its version or without."""
        return hashlib.sha256(
            orjson.dumps(self, default=str, option=orjson.OPT_NON_STR_KEYS)
        ).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What a model answered to a case.

    Attributes:
        text: What a caller would get.
        prompt: All the text that was sent to the model, so that an echo of it is known as one.
        latency_s: Seconds to the whole answer.
        judgements: What a judging model found wrong, "" for nothing, by what it was told to look
            for; empty where none was asked.
    """

    text: str
    prompt: str = ""
    latency_s: float = 0.0
    judgements: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one scorer says of an answer.

    Attributes:
        problem: What is wrong; "" if it passes.
        is_skipped: The scorer did not look: an operator does not allow it to, or nobody judged.
    """

    scorer: str
    problem: str = ""
    is_skipped: bool = False


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a case went.

    Attributes:
        answer: None if none came.
        error: Code of the error in place of an answer; "" if one came.
    """

    case_id: str
    answer: GivenAnswer | None
    outcomes: tuple[Outcome, ...] = ()
    error: str = ""

    @property
    def is_passed(self) -> bool:
        return self.answer is not None and not any(outcome.problem for outcome in self.outcomes)

    @property
    def score(self) -> float:
        """Share of the checks that the answer passes, 0 to 1; the skipped ones do not count."""
        looked = [outcome for outcome in self.outcomes if not outcome.is_skipped]
        return sum(not outcome.problem for outcome in looked) / len(looked) if looked else 0.0
