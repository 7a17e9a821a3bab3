"""What is measured of a model server, and how each finding is told."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from selfhosted_models.probing.outcomes import Outcome


class Trait(StrEnum):
    """What is measured, in this order. Stored and shown by these words."""

    REACHABLE = "reachable"
    AUTHENTICATED = "authenticated"
    MODEL_FOUND = "model_found"
    SYSTEM_ROLE = "system_role"
    CHAT = "chat"
    TEXT = "text"
    STREAMING = "streaming"
    STREAM_USAGE = "stream_usage"
    SPEED = "speed"
    STOP_SEQUENCES = "stop_sequences"
    FILL_IN_MIDDLE = "fill_in_middle"  # by the prompt of the code completion feature
    NATIVE_FILL_IN_MIDDLE = "native_fill_in_middle"  # by an endpoint of the server's own
    TOOLS = "tools"
    REASONING_TAGS = "reasoning_tags"
    CONTEXT = "context"


class State(StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"  # it could not be measured
    NOT_APPLICABLE = "not_applicable"  # the serving format has nothing of the kind


#: The traits without which nothing is known of the model at all.
PRECONDITIONS = frozenset({Trait.REACHABLE, Trait.AUTHENTICATED})
#: What stays as it is while the server does; speed does not.
_STABLE = frozenset(Trait) - PRECONDITIONS - {Trait.SPEED}

#: The stable findings: whether a trait is there; of the context, its tokens.
Facts = Mapping[str, bool | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AbilityResult:
    """One finding.

    Attributes:
        detail: What was seen, in a sentence; never the server's own words.
        took_ms: The time it took to find out.
        remedy: What to do about it; "" where there is nothing to be done.
        outcome: How asking ended, where it failed.
        context_tokens: Of the context.
        first_token_ms: Of the speed.
        tokens_per_s: Of the speed, once the answer has begun.
    """

    trait: Trait
    state: State
    detail: str
    took_ms: float = 0.0
    remedy: str = ""
    outcome: Outcome = Outcome.OK
    context_tokens: int | None = None
    first_token_ms: float | None = None
    tokens_per_s: float | None = None

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "AbilityResult":
        """Return a finding as it was stored by `asdict`."""
        words = {
            "trait": Trait(data["trait"]),
            "state": State(data["state"]),
            "outcome": Outcome(data["outcome"]),
        }
        return cls(**{**data, **words})


def facts_of(results: Iterable[AbilityResult]) -> dict[str, bool | int]:
    """Return what is certain and stable among `results`."""
    facts: dict[str, bool | int] = {}
    for result in results:
        if result.trait is Trait.CONTEXT:
            if result.context_tokens is not None:
                facts[result.trait.value] = result.context_tokens
        elif result.trait in _STABLE and result.state in {State.YES, State.NO}:
            facts[result.trait.value] = result.state is State.YES
    return facts


def is_usable(results: Iterable[AbilityResult]) -> bool:
    """Tell whether the server answered at all, so that the other findings say something."""
    states = {result.trait: result.state for result in results}
    answers = State.YES in {states.get(Trait.CHAT), states.get(Trait.TEXT)}
    return answers and all(states.get(trait) is State.YES for trait in PRECONDITIONS)
