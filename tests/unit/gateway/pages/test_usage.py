"""The pages about use: what they say, what they link to, and what they cost."""

import html as html_text
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from gateway.errors import Hop
from gateway.pages.frame import PAGE_SIZE
from gateway.usage.buffer import Taken
from gateway.usage.store import write_down
from selfhosted_models.models import EndpointHealth, EndpointHealthChange
from tests.factories import make_admin, make_deployment
from tests.unit.gateway.usage.ended import ended

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
FAILED: dict[str, Any] = {
    "outcome": "upstream_timeout",
    "hop": Hop.MODEL_SERVER,
    "reason": "gpu1 <b>did not answer</b>.",
    "status": 503,
    "first_s": None,
}
#: Session, user, second factor and permissions, as on every page.
FRAME_QUERIES = 7
USAGE, REQUESTS = "/admin/usage/", "/admin/usage/requests/"


@pytest.fixture
def admin() -> Iterator[Client]:
    with time_machine.travel(NOW, tick=False):
        client = Client()
        client.force_login(make_admin())
        yield client


def happened(*seconds_ago: float, **of: Any) -> None:
    write_down(Taken([ended(-s, **of) for s in seconds_ago], 0), clock_offset_s=NOW.timestamp())


def words(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    page = re.sub(r"<[^>]*>", " ", response.content.decode())
    return " ".join(html_text.unescape(page).split())


# --- Charts ---------------------------------------------------------------------------------------


def test_key_figures_and_tables_tell_what_the_charts_show(admin: Client) -> None:
    happened(*[60] * 9)
    happened(60, **FAILED)
    happened(60, outcome="client_left", deployment="gpu2")

    told = words(admin, USAGE)

    assert "Requests 11 1 cancelled Errors 1 10 % First text 250 ms" in told
    assert "2026-11-22 12:00 9 1 0 1" in told  # answered, failed, refused, cancelled
    assert "GitLab Duo Chat 11 1 cancelled 1 10 %" in told
    assert "gpu2 1 1 cancelled 0" in told


def test_page_holds_no_script_or_style_of_its_own(admin: Client) -> None:
    happened(60)

    page = admin.get(USAGE).content.decode()

    assert page.count("<figure") == page.count("<figcaption") == 8
    assert not re.search(r"<script(?! src=)|<style|style=", page)


@pytest.mark.parametrize(
    ("query", "requests"),
    [
        ("", "3"),
        ("?feature=duo_chat", "2"),
        ("?deployment=gpu2", "1"),
        ("?span=year", "4"),
        ("?span=nonsense&feature=nonsense&deployment=nonsense", "3"),
    ],
)
def test_what_is_chosen_is_shown(admin: Client, query: str, requests: str) -> None:
    make_deployment(name="gpu2")
    happened(60, 120)
    happened(60, feature="code_completions", deployment="gpu2")
    happened(timedelta(days=200).total_seconds(), feature="code_completions")

    assert f"Requests {requests} Errors" in words(admin, USAGE + query)


def test_many_deployments_are_told_as_the_busiest_and_all_others(admin: Client) -> None:
    for number in range(8):
        happened(*[60] * (number + 1), deployment=f"gpu{number}")

    told = words(admin, USAGE)

    assert "Requests by deployment gpu7 gpu6 gpu5 gpu4 gpu3 all others" in told
    assert "2026-11-22 12:00 8 7 6 5 4 6" in told


def test_what_was_not_recorded_is_said(admin: Client) -> None:
    write_down(Taken([ended(-60)], 7), clock_offset_s=NOW.timestamp())

    assert "7 more requests could not be recorded" in words(admin, USAGE)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "Point GitLab to this gateway, choose what answers on the Features page"),
        ("?feature=duo_chat", "Show all features and deployments , or look further back"),
    ],
)
def test_no_requests_at_all_say_what_to_do(admin: Client, query: str, told: str) -> None:
    assert told in words(admin, USAGE + query)
    assert "Add a deployment ; half a minute later it is probed" in words(admin, USAGE)


def test_health_is_told_with_its_changes(admin: Client) -> None:
    row = make_deployment(name="gpu1")
    at = {"deployment": row, "url": row.endpoints[0]}
    since = NOW - timedelta(hours=2)
    EndpointHealth.objects.create(**at, state="down", reason="Refused.", since=since, heard_at=NOW)
    EndpointHealthChange.objects.create(**at, state="healthy", at=NOW - timedelta(days=3))
    EndpointHealthChange.objects.create(**at, state="down", reason="Refused.", at=since)

    told = words(admin, USAGE)

    assert "gpu1 http://10.0.4.11:8000/v1 down Refused. 2026-11-22 10:30 heard 0 minutes" in told
    assert told.count("down Refused.") == 2  # now, and in the list of changes of this time
    strips = re.findall(r'<path class="bar (\w+)" d="M([0-9.]+)', admin.get(USAGE).content.decode())
    # It was healthy when the day began; a day ends with the hour that is not over.
    assert strips == [("good", "0.0"), ("bad", "914.89")]


def test_queries_do_not_grow_with_what_there_is(
    admin: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        row = make_deployment(name=f"gpu{number}")
        happened(*range(60, 6000, 900), deployment=row.name)
        at = {"deployment": row, "url": row.endpoints[0], "state": "healthy"}
        EndpointHealth.objects.create(**at, since=NOW, heard_at=NOW)
        EndpointHealthChange.objects.create(**at, at=NOW)

    with django_assert_max_num_queries(FRAME_QUERIES + 8):
        admin.get(USAGE)
    with django_assert_max_num_queries(FRAME_QUERIES + 1):
        admin.get(REQUESTS)


# --- Requests -------------------------------------------------------------------------------------


def test_request_is_told_with_what_went_wrong(admin: Client) -> None:
    happened(60, request_id="corr-42", **FAILED)

    told = words(admin, REQUESTS)

    assert "2026-11-22 12:29:00 failed upstream_timeout gpu1 <b>did not answer</b>." in told
    assert "GitLab Duo Chat gpu1" in told
    assert "Request id corr-42 Status 503, upstream_timeout, model_server" in told


def test_requests_are_found_and_nothing_found_is_said(admin: Client) -> None:
    happened(60, request_id="a", sent_user="u-1")
    happened(30, request_id="b", sent_user="u-2", **FAILED)

    assert "Request id b" in words(admin, f"{REQUESTS}?ending=failed")
    assert "Request id a" not in words(admin, f"{REQUESTS}?user=u-2")
    assert "No request that is kept fits" in words(admin, f"{REQUESTS}?deployment=gone")


@pytest.mark.parametrize("query", ["ending=x", "before=x", "before=-1", "before=9" + "9" * 40])
def test_what_makes_no_sense_is_told_or_passed_over(admin: Client, query: str) -> None:
    happened(60, request_id="a")

    assert "Request id a" in words(admin, f"{REQUESTS}?{query}")


def test_older_requests_are_one_page_further(admin: Client) -> None:
    happened(*range(PAGE_SIZE + 1, 0, -1), feature="duo_chat")

    first = admin.get(f"{REQUESTS}?feature=duo_chat").content.decode()
    (older,) = re.findall(r'href="(\?[^"]*before[^"]*)"', first)
    second = admin.get(REQUESTS + html_text.unescape(older)).content.decode()

    assert first.count('class="when"') == PAGE_SIZE
    assert second.count('class="when"') == 1


def test_no_requests_yet_say_what_to_do(admin: Client) -> None:
    assert "once GitLab sends some with a good token" in words(admin, REQUESTS)
