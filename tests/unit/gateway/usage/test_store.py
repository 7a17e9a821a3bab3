"""What is written of requests: a row for each, and counts that add up."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.errors import Hop
from gateway.exchange import Ending, Exchange
from gateway.models import LoggedRequest, SliceLength, UsageSlice
from gateway.usage.buffer import Taken
from gateway.usage.latency import bucket_of
from gateway.usage.store import user_hash, write_down
from selfhosted_models.serving_formats.base import Usage
from tests.unit.gateway.usage.ended import ended

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def write(*exchanges: Exchange, unrecorded: int = 0) -> None:
    """Write down requests; their monotonic clock began at noon."""
    write_down(Taken([*exchanges], unrecorded), clock_offset_s=NOON.timestamp())


def hour(**of: Any) -> UsageSlice:
    return UsageSlice.objects.get(length_s=SliceLength.HOUR, **of)


def test_row_says_who_answered_how_it_ended_and_what_it_took() -> None:
    write(
        ended(
            90.0,
            total_s=2.5,
            first_s=0.25,
            queued_s=0.1,
            route="v1/chat/<str:kind>",
            attempts=1,
            prompt="duo_chat/base/1.0.0",
            prompt_digest="d1",
            configuration="c1",
        )
    )

    row = LoggedRequest.objects.values().get()
    assert row == {
        "id": row["id"],
        "ended_at": NOON + timedelta(seconds=90),
        "request_id": "request-1",
        "route": "v1/chat/<str:kind>",
        "status": 200,
        "ending": "answered",
        "outcome": "ok",
        "hop": "",
        "reason": "",
        "feature": "duo_chat",
        "deployment": "gpu1",
        "attempts": 1,
        "prompt": "duo_chat/base/1.0.0",
        "prompt_digest": "d1",
        "configuration": "c1",
        "user_hash": user_hash("u-1"),
        "input_tokens": 100,
        "output_tokens": 20,
        "queued_ms": 100,
        "first_token_ms": 250,
        "total_ms": 2500,
    }


def test_requests_count_in_a_slice_of_each_length() -> None:
    write(ended(3601.0), ended(3599.0), ended(10.0))

    starts = [
        [row.start - NOON for row in UsageSlice.objects.filter(length_s=length_s)]
        for length_s in SliceLength
    ]
    minutes = timedelta(minutes=1)
    assert starts == [
        [0 * minutes, 55 * minutes, 60 * minutes],
        [0 * minutes, 60 * minutes],
        [-720 * minutes],
        [-6 * 1440 * minutes - 720 * minutes],
    ]
    assert hour(start=NOON).answered == 2


def test_batches_add_up_and_keys_stay_apart() -> None:
    write(ended(1.0), ended(2.0, deployment="gpu2"))
    write(ended(3.0, usage=Usage(None, 7)), ended(4.0, feature="", deployment=""))

    assert hour(deployment="gpu1").answered == 2
    assert (hour(deployment="gpu1").input_tokens, hour(deployment="gpu1").output_tokens) == (
        100,
        27,
    )
    assert hour(deployment="gpu2").answered == 1
    assert hour(feature="").answered == 1


@pytest.mark.parametrize(
    ("outcome", "hop", "ending"),
    [
        ("ok", None, Ending.ANSWERED),
        ("client_left", None, Ending.CANCELLED),
        ("client_stalled", None, Ending.CANCELLED),
        ("feature_inactive", Hop.CALLER, Ending.REFUSED),
        ("deployment_busy", Hop.GATEWAY, Ending.FAILED),
        ("upstream_timeout", Hop.MODEL_SERVER, Ending.FAILED),
    ],
)
def test_endings_are_counted_apart(outcome: str, hop: Hop | None, ending: Ending) -> None:
    write(ended(1.0, outcome=outcome, hop=hop))

    row = hour()
    assert {each: getattr(row, each) for each in Ending} == {
        **dict.fromkeys(Ending, 0),
        ending: 1,
    }
    assert LoggedRequest.objects.get().ending == ending


def test_times_of_whole_answers_only_are_counted() -> None:
    write(
        ended(10.0, total_s=0.5, first_s=0.25),
        ended(11.0, total_s=9, first_s=0.25, outcome="client_left"),
        ended(12.0, total_s=9, first_s=None, outcome="upstream_timeout", hop=Hop.MODEL_SERVER),
    )

    row = hour()
    first, total = UsageSlice.FIRST_TOKEN[bucket_of(250)], UsageSlice.TOTAL[bucket_of(500)]
    assert (getattr(row, first), getattr(row, total)) == (2, 1)
    assert sum(getattr(row, name) for name in UsageSlice.TOTAL) == 1


def test_who_has_no_good_token_is_counted_and_not_listed() -> None:
    write(ended(1.0, caller=None, outcome="token_refused", hop=Hop.CALLER, feature=""))

    assert hour().refused == 1
    assert not LoggedRequest.objects.exists()


def test_no_rows_are_written_where_none_are_wanted(settings: Any) -> None:
    settings.REQUEST_LOG_DAYS = 0

    write(ended(1.0))

    assert hour().answered == 1
    assert not LoggedRequest.objects.exists()


def test_what_was_lost_is_counted_too() -> None:
    write(ended(1.0), unrecorded=3)
    write(unrecorded=2)

    lost = UsageSlice.objects.filter(length_s=SliceLength.DAY).values_list("unrecorded", flat=True)
    assert sum(lost) == 5


def test_user_is_a_hash_that_only_this_installation_can_make(settings: Any) -> None:
    ours = user_hash("u-1")
    settings.SECRET_KEY = "another"

    assert len(ours) == 16
    assert ours != user_hash("u-1")
    assert user_hash("") == ""


def test_a_batch_of_many_keys_is_written() -> None:
    write(*(ended(1.0, deployment=f"gpu{number}") for number in range(500)))

    assert UsageSlice.objects.filter(length_s=SliceLength.HOUR).count() == 500
