"""What a schema cannot say of an answer: rules that definitions name. Pure."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from itertools import islice
from types import MappingProxyType
from typing import Any

from prompts.contract import AnswerRule
from prompts.errors import OutputInvalid


def known_reviewers(answer: dict[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the reviewers who are candidates, each once, and as many as were asked for.

    Raises:
        OutputInvalid: People are named, and none of them is a candidate.
    """
    known = {name.casefold(): name for name in _usernames(inputs["candidates"])}
    reasons: dict[str, str] = {}
    for reviewer in answer["reviewers"]:
        username = known.get(reviewer["username"].removeprefix("@").casefold())
        if username is not None:
            reasons.setdefault(username, reviewer["reason"])
    if answer["reviewers"] and not reasons:
        raise OutputInvalid("reviewers names nobody who is among the candidates")
    ranked = islice(reasons.items(), inputs["limit"])
    return {"reviewers": [{"username": name, "reason": reason} for name, reason in ranked]}


def _usernames(candidates: Any) -> Iterator[str]:
    for candidate in candidates:
        name = candidate.get("username") if isinstance(candidate, Mapping) else candidate
        if isinstance(name, str):
            yield name


def plausible_forecast(answer: dict[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Keep as many points as were asked for, with their intervals.

    Raises:
        OutputInvalid: A value is outside its interval, or the dates do not go on from the series.
    """
    points = []
    previous = _last_day(inputs["series"])
    for position, point in enumerate(answer["forecast"][: inputs["horizon"]]):
        place = f"forecast.{position}"
        if not point["low"] <= point["value"] <= point["high"]:
            raise OutputInvalid(f"{place}.value is not between its low and its high")
        day = _day(point["date"])
        if day is None:
            raise OutputInvalid(f"{place}.date is not a date as YYYY-MM-DD")
        if previous is not None and day <= previous:
            raise OutputInvalid(f"{place}.date is not after the date before it")
        previous = day
        numbers = {name: point[name] for name in ("value", "low", "high")}
        points.append({"date": day.isoformat(), **numbers})
    return {"forecast": points, "reason": answer["reason"]}


def _last_day(series: Any) -> date | None:
    """Return the day of the newest point, None if it does not tell one."""
    newest = series[-1] if series else None
    return _day(newest.get("date")) if isinstance(newest, Mapping) else None


def _day(text: Any) -> date | None:
    try:
        return datetime.fromisoformat(text).date()
    except (TypeError, ValueError):
        return None


#: By the name that a definition gives as `answer.rule`.
ANSWER_RULES: Mapping[str, AnswerRule] = MappingProxyType(
    {"known_reviewers": known_reviewers, "plausible_forecast": plausible_forecast}
)
