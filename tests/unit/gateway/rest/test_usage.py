"""`usage/` and `request-logs/`."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from pytest_django import DjangoAssertNumQueries

from gateway.errors import Hop
from gateway.models import LoggedRequest
from gateway.usage.buffer import Taken
from gateway.usage.store import user_hash, write_down
from tests.unit.gateway.rest.api import Api
from tests.unit.gateway.usage.ended import ended

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
HOUR_S = 3600


def happened(*seconds_ago: float, **of: Any) -> None:
    write_down(Taken([ended(-s, **of) for s in seconds_ago], 0), clock_offset_s=NOW.timestamp())


@pytest.fixture(autouse=True)
def _now(db: None) -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


# --- Over time ------------------------------------------------------------------------------------


def test_the_last_day_by_hour_is_told_for_all_together(api: Api) -> None:
    happened(0, 0, HOUR_S)

    told = api.get("usage/").json()

    assert (told["period"], told["since"], told["until"]) == (
        "hour",
        "2026-11-21T12:00:00Z",
        "2026-11-22T13:00:00Z",
    )
    (series,) = told["series"]
    assert series["name"] is None
    assert [point["requests"] for point in series["points"]][-3:] == [0, 1, 2]
    assert series["points"][-1] == {
        "start": "2026-11-22T12:00:00Z",
        "requests": 2,
        "answered": 2,
        "refused": 0,
        "failed": 0,
        "cancelled": 0,
        "unrecorded": 0,
        "error_rate": 0.0,
        "input_tokens": 200,
        "output_tokens": 40,
        "first_token_p50_ms": pytest.approx(250),
        "first_token_p95_ms": pytest.approx(295),
        "total_p50_ms": pytest.approx(900),
        "total_p95_ms": pytest.approx(990),
    }
    assert series["points"][0]["error_rate"] is None
    assert series["points"][0]["first_token_p50_ms"] is None


def test_the_busiest_come_first_and_the_others_not_at_all(api: Api) -> None:
    for number in range(3):
        happened(*[0] * (number + 1), deployment=f"gpu{number}")

    told = api.get("usage/?period=day&by=deployment&top=2").json()

    assert [series["name"] for series in told["series"]] == ["gpu2", "gpu1"]
    assert [series["points"][-1]["requests"] for series in told["series"]] == [3, 2]


def test_only_what_is_asked_for_is_counted(api: Api) -> None:
    happened(0, feature="duo_chat", deployment="gpu1")
    happened(0, feature="code_completions", deployment="gpu1")
    happened(0, feature="code_completions", deployment="gpu2")

    path = "usage/?period=week&feature=code_completions&deployment=gpu2"
    (series,) = api.get(path).json()["series"]

    assert series["points"][-1]["requests"] == 1


@pytest.mark.parametrize(
    "query",
    [
        "period=year",
        "by=user",
        "feature=nothing",
        "since=yesterday",
        "since=2026-11-22T12:00:00Z&until=2026-11-22T12:00:00Z",
        "since=2026-11-23T00:00:00Z",
        "period=hour&since=2025-01-01T00:00:00Z",
        "until=0001-01-01T00:00:00Z",
        "until=9999-12-31T23:59:59Z",
        "top=0",
        "deployment=%00",
    ],
)
def test_what_cannot_be_told_is_refused_with_the_reason(api: Api, query: str) -> None:
    answer = api.get(f"usage/?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


def test_queries_do_not_grow_with_what_there_is(
    api: Api, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        happened(0, HOUR_S, deployment=f"gpu{number}")

    with django_assert_max_num_queries(5):  # the token's two, its last use, and two of usage
        api.get("usage/?by=deployment&top=20")


# --- One by one -----------------------------------------------------------------------------------


def test_requests_are_listed_newest_first_in_pages(api: Api) -> None:
    happened(30, 20, 10)

    first = api.get("request-logs/?limit=2").json()
    second = api.get("request-logs/?" + first["next"].partition("?")[2]).json()

    times = [row["ended_at"] for row in [*first["results"], *second["results"]]]
    assert times == [f"2026-11-22T12:29:{second}Z" for second in (50, 40, 30)]


def test_request_is_shown_by_its_number(api: Api) -> None:
    happened(0, outcome="upstream_timeout", hop=Hop.MODEL_SERVER, reason="gpu1 did not answer.")

    (row,) = api.get("request-logs/").json()["results"]

    assert api.get(f"request-logs/{row['id']}/").json() == row
    assert (row["ending"], row["outcome"], row["hop"]) == (
        "failed",
        "upstream_timeout",
        "model_server",
    )
    assert api.get("request-logs/999/").status_code == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("request_id=b", ["b"]),
        ("feature=duo_chat", ["a"]),
        ("deployment=gpu2", ["b"]),
        ("ending=failed", ["b"]),
        ("hop=model_server", ["b"]),
        ("outcome=ok", ["a"]),
        ("status=503", ["b"]),
        ("user=u-2", ["b"]),
        (f"ended_at__gte={NOW:%Y-%m-%dT%H:%M}:00Z", ["b"]),
        (f"ended_at__lt={NOW:%Y-%m-%dT%H:%M}:00Z", ["a"]),
        ("first_token_ms__gte=100", ["a"]),
        ("total_ms__gte=2000", ["b"]),
        ("user=nobody", []),
        ("user=%FF", []),
    ],
)
def test_requests_are_found_by_what_is_known_of_them(
    api: Api, query: str, found: list[str]
) -> None:
    happened(10, request_id="a")
    happened(
        0,
        request_id="b",
        feature="code_completions",
        deployment="gpu2",
        outcome="upstream_timeout",
        hop=Hop.MODEL_SERVER,
        status=503,
        sent_user="u-2",
        first_s=None,
        total_s=5,
    )

    rows = api.get(f"request-logs/?{query}").json()["results"]

    assert [row["request_id"] for row in rows] == found


def test_user_is_told_as_a_hash_only(api: Api) -> None:
    happened(0, sent_user="alice@example.com")

    answer = api.get("request-logs/")

    assert answer.json()["results"][0]["user_hash"] == user_hash("alice@example.com")
    assert b"alice" not in answer.content


@pytest.mark.parametrize("query", ["ending=good", "hop=moon", "feature=none", "ended_at__gte=x"])
def test_filter_that_makes_no_sense_is_refused(api: Api, query: str) -> None:
    assert api.get(f"request-logs/?{query}").status_code == 422


def test_listing_takes_as_many_queries_for_many_rows(
    api_of: Callable[..., Api], api: Api, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    happened(*range(60))

    with django_assert_max_num_queries(4):
        assert len(api.get("request-logs/").json()["results"]) == 50
    assert LoggedRequest.objects.count() == 60
