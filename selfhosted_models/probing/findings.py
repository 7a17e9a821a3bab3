"""How findings are worded. Pure; nothing here holds a server's own words."""

from dataclasses import replace

from selfhosted_models.errors import DeploymentError, UpstreamRejected
from selfhosted_models.probing.context import Context
from selfhosted_models.probing.interview import Heard
from selfhosted_models.probing.outcomes import KEY_REFUSED, outcome_of
from selfhosted_models.probing.results import AbilityResult, State, Trait

#: Statuses that say nothing of what was asked, only of the moment or of the key.
_OF_THE_MOMENT = KEY_REFUSED | {408, 429, 503}


def yes(trait: Trait, detail: str) -> AbilityResult:
    return AbilityResult(trait=trait, state=State.YES, detail=detail)


def no(trait: Trait, detail: str, remedy: str = "") -> AbilityResult:
    return AbilityResult(trait=trait, state=State.NO, detail=detail, remedy=remedy)


def unknown(trait: Trait, detail: str) -> AbilityResult:
    return AbilityResult(trait=trait, state=State.UNKNOWN, detail=detail)


def not_applicable(trait: Trait, detail: str) -> AbilityResult:
    return AbilityResult(trait=trait, state=State.NOT_APPLICABLE, detail=detail)


def failed(trait: Trait, error: DeploymentError) -> AbilityResult:
    """Return what a failed question says: a refusal is an answer, anything else is none."""
    return AbilityResult(
        trait=trait,
        state=State.NO if is_refusal(error) else State.UNKNOWN,
        detail="The server refuses it." if is_refusal(error) else "It could not be measured.",
        remedy=error.admin_message,
        outcome=outcome_of(error),
    )


def is_refusal(error: DeploymentError) -> bool:
    """Tell whether the server refuses what was asked, and not only now."""
    return (
        isinstance(error, UpstreamRejected)
        and not error.is_overloaded
        and error.status not in _OF_THE_MOMENT
    )


def speed(heard: Heard) -> AbilityResult:
    """Return how fast a streamed answer came."""
    if heard.first_piece_s is None:
        return unknown(Trait.SPEED, "The answer held no text.")
    first_ms = round(heard.first_piece_s * 1000, 1)
    tokens = (heard.usage.output_tokens if heard.usage else None) or heard.pieces
    detail, per_s = f"The first token after {first_ms:,.0f} ms.", None
    if heard.speaking_s > 0 and tokens > 1:
        per_s = round((tokens - 1) / heard.speaking_s, 1)
        detail = f"The first token after {first_ms:,.0f} ms, then {per_s:,.0f} tokens a second."
    return replace(yes(Trait.SPEED, detail), first_token_ms=first_ms, tokens_per_s=per_s)


def context_found(context: Context, told: int | None) -> AbilityResult:
    """Return how many tokens a server takes; `told` is what it says itself."""
    trait, tokens = Trait.CONTEXT, context.tokens
    if tokens is None:
        remedy = "Set the context of the deployment by hand."
        detail = "The server neither says nor shows how many tokens it takes."
        return replace(unknown(trait, detail), remedy=remedy)
    if tokens == told:
        tried = "and took nearly as many" if context.is_tried else "which was not tried in full"
        detail = f"The server says that it takes {tokens:,} tokens, {tried}."
        return replace(yes(trait, detail), context_tokens=tokens)
    more = "more were not tried" if context.is_at_least else "not more"
    found = yes(trait, f"The server takes {tokens:,} tokens, {more}.")
    if told is not None:
        found = replace(
            found,
            detail=f"The server takes {tokens:,} tokens, although it says {told:,}.",
            remedy="Look at the options that the server was started with.",
        )
    return replace(found, context_tokens=tokens)
