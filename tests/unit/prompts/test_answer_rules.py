from typing import Any

import pytest

from prompts.answer_rules import known_reviewers, plausible_forecast
from prompts.errors import OutputInvalid

CANDIDATES = ({"username": "Dana", "commits": 3}, "kim", {"commits": 2}, {"username": None})


def reviewers(*usernames: str) -> dict[str, Any]:
    return {"reviewers": [{"username": name, "reason": f"{name}!"} for name in usernames]}


def names(answer: dict[str, Any], *, limit: int = 3, candidates: Any = CANDIDATES) -> list[str]:
    kept = known_reviewers(answer, {"candidates": candidates, "limit": limit})
    return [reviewer["username"] for reviewer in kept["reviewers"]]


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        (["kim", "Dana"], ["kim", "Dana"]),
        (["dana", "@kim"], ["Dana", "kim"]),
        (["stranger", "kim"], ["kim"]),
        (["kim", "kim", "Dana"], ["kim", "Dana"]),
        ([], []),
    ],
)
def test_only_candidates_stay_each_once_in_their_order(named: list[str], kept: list[str]) -> None:
    assert names(reviewers(*named)) == kept


def test_no_more_reviewers_than_asked_for() -> None:
    assert names(reviewers("stranger", "kim", "dana"), limit=1) == ["kim"]


@pytest.mark.parametrize("candidates", [CANDIDATES, ()])
def test_nobody_but_strangers_is_refused(candidates: Any) -> None:
    with pytest.raises(OutputInvalid, match="nobody who is among the candidates"):
        names(reviewers("stranger", "intruder"), candidates=candidates)


def test_reviewer_keeps_the_reason_and_loses_what_nobody_asked_for() -> None:
    answer = {"reviewers": [{"username": "kim", "reason": "knows it", "score": 9}]}

    kept = known_reviewers(answer, {"candidates": CANDIDATES, "limit": 3})

    assert kept == {"reviewers": [{"username": "kim", "reason": "knows it"}]}


SERIES = ({"date": "2024-01-01", "value": 3}, {"date": "2024-02-01", "value": 4})


def point(date: str = "2024-03-01", **changes: Any) -> dict[str, Any]:
    return {"date": date, "value": 3.5, "low": 3, "high": 4, **changes}


def forecast(*points: dict[str, Any], series: Any = SERIES, horizon: int = 6) -> Any:
    answer = {"forecast": [*points], "reason": "steady"}
    return plausible_forecast(answer, {"series": series, "horizon": horizon})["forecast"]


def test_forecast_goes_on_from_the_series() -> None:
    points = [point(), point("2024-04-01", value=4, high=4)]

    assert forecast(*points) == points


def test_no_more_points_than_asked_for() -> None:
    assert forecast(point(), point("2024-04-01"), horizon=1) == [point()]


@pytest.mark.parametrize("series", [(), ("3", "4"), ({"value": 3},), ({"date": "week 5"},)])
def test_series_without_readable_dates_forbids_none(series: Any) -> None:
    assert forecast(point("1999-01-01"), series=series) == [point("1999-01-01")]


def test_empty_forecast_is_an_answer() -> None:
    assert forecast() == []


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ([point(low=3.6)], "forecast.0.value is not between"),
        ([point(high=3.4)], "forecast.0.value is not between"),
        ([point("soon")], "forecast.0.date is not a date"),
        ([point("2024-02-01")], "forecast.0.date is not after"),
        ([point(), point()], "forecast.1.date is not after"),
        ([point("2024-04-01"), point("2024-03-01")], "forecast.1.date is not after"),
    ],
)
def test_implausible_point_is_refused_by_its_place(
    points: list[dict[str, Any]], problem: str
) -> None:
    with pytest.raises(OutputInvalid, match=problem):
        forecast(*points)
