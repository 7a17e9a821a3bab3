"""What holds for every resource: request ids, limits, keys of repeated requests, bad bodies."""

from collections.abc import Callable
from typing import Any

import pytest
import structlog.testing
import time_machine
from django.db import OperationalError
from django.http import Http404

from gateway.errors import BodyTooLarge
from gateway.models import IdempotentAnswer, Revision
from gateway.rest.problems import problem_of
from gateway.rest.scopes import Scope
from selfhosted_models.models import ModelDeployment
from tests.unit.gateway.rest.api import Api
from tests.unit.gateway.rest.test_deployments import GOOD, KEY


def test_request_id_is_kept_or_made(api: Api) -> None:
    kept = api.get("features/", x_request_id="mine-1")
    made = api.get("features/", x_request_id="not one!")

    assert kept["X-Request-ID"] == "mine-1"
    assert len(made["X-Request-ID"]) == 32


def test_problem_names_the_request_it_is_of(api: Api) -> None:
    answer = api.get("features/none/", x_request_id="mine-1")

    assert answer["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "code", "request_id"} == answer.json().keys()
    assert (answer.json()["request_id"], answer.json()["status"]) == ("mine-1", 404)


@pytest.mark.parametrize("body", [b"{", b"[1, 2]", b'"text"', b"\xff", b"null", b"[" * 5000])
def test_bad_body_is_told_and_does_no_harm(api: Api, body: bytes) -> None:
    answer = api.post("deployments/", body)

    assert answer.status_code in {400, 422}
    assert answer.json()["detail"]
    assert not ModelDeployment.objects.exists()


def test_answers_are_not_to_be_kept_by_caches(api: Api) -> None:
    assert api.get("deployments/")["Cache-Control"] == "no-store"


def test_request_has_one_line_in_the_log_that_says_who_asked_what(api: Api) -> None:
    with structlog.testing.capture_logs() as events:
        api.get("features/none/", x_request_id="mine-1")
        Api("shdapi_wrong").get("features/")

    known, stranger = [event for event in events if event["event"] == "rest.finished"]
    assert known.pop("total_ms") > 0
    assert known == {
        "event": "rest.finished",
        "log_level": "info",
        "request_id": "mine-1",
        "method": "GET",
        "route": "api/v1/features/<str:feature>/",
        "status": 404,
        "client": "API token rails",
    }
    assert (stranger["status"], stranger["client"]) == (401, "")


# --- Limits ---------------------------------------------------------------------------------------


def test_limit_is_told_in_headers_and_kept(api_of: Callable[..., Api], settings: Any) -> None:
    settings.REST_REQUESTS_PER_MINUTE = 2
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        api = api_of(Scope.READ_CONFIGURATION)
        first = api.get("features/")
        clock.shift(10)
        second, third = api.get("features/"), api.get("features/")

        limits = [
            tuple(answer[f"RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset"))
            for answer in (first, second, third)
        ]
        assert limits == [("2", "1", "60"), ("2", "0", "50"), ("2", "0", "50")]
        assert (third.status_code, third["Retry-After"]) == (429, "50")
        assert third.json()["code"] == "throttled"
        clock.shift(50)
        assert api.get("features/").status_code == 200


def test_limit_of_one_client_is_not_that_of_another(
    api_of: Callable[..., Api], settings: Any
) -> None:
    settings.REST_REQUESTS_PER_MINUTE = 1
    one, other = api_of(Scope.READ_CONFIGURATION), api_of(Scope.READ_CONFIGURATION, name="other")
    one.get("features/")

    assert one.get("features/").status_code == 429
    assert other.get("features/").status_code == 200


def test_no_limit_tells_none(api: Api, settings: Any) -> None:
    settings.REST_REQUESTS_PER_MINUTE = 0

    assert "RateLimit-Limit" not in api.get("features/")


# --- Repeated requests ----------------------------------------------------------------------------


def test_repeated_post_gets_the_same_answer_and_does_nothing(api: Api) -> None:
    first = api.post("deployments/", GOOD, idempotency_key="k-1")
    again = api.post("deployments/", GOOD, idempotency_key="k-1")

    assert (again.status_code, again.json()) == (201, first.json())
    assert (again["Location"], again["ETag"]) == (first["Location"], first["ETag"])
    assert (again["Idempotent-Replayed"], "Idempotent-Replayed" in first) == ("true", False)
    assert (ModelDeployment.objects.count(), Revision.objects.count()) == (1, 1)


def test_key_of_another_request_is_refused(api: Api) -> None:
    api.post("deployments/", GOOD, idempotency_key="k-1")

    answer = api.post("deployments/", GOOD | {"name": "other"}, idempotency_key="k-1")

    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")
    assert ModelDeployment.objects.count() == 1


def test_key_of_a_failed_request_may_be_sent_again(api: Api) -> None:
    failed = api.post("deployments/", GOOD | {"family": "none"}, idempotency_key="k-1")
    done = api.post("deployments/", GOOD, idempotency_key="k-1")

    assert (failed.status_code, done.status_code) == (422, 201)


def test_key_is_the_clients_own(api_of: Callable[..., Api]) -> None:
    one, other = api_of(*Scope), api_of(*Scope, name="other")
    one.post("deployments/", GOOD, idempotency_key="k-1")

    answer = other.post("deployments/", GOOD | {"name": "other"}, idempotency_key="k-1")

    assert answer.status_code == 201


def test_key_is_forgotten_after_a_day(api: Api) -> None:
    api.post("deployments/", GOOD, idempotency_key="k-1")
    note = IdempotentAnswer.objects.get()
    IdempotentAnswer.objects.update(created_at=note.created_at.replace(year=2001))

    answer = api.post("deployments/", GOOD | {"name": "other"}, idempotency_key="k-1")

    assert answer.status_code == 201


def test_stored_answer_holds_no_secret(api: Api) -> None:
    api.post("deployments/", GOOD | {"api_key": KEY}, idempotency_key="k-1")

    assert KEY not in str([*IdempotentAnswer.objects.values()])


@pytest.mark.parametrize("key", ["", "a b", "x" * 129])
def test_bad_key_is_told(api: Api, key: str) -> None:
    answer = api.post("deployments/", GOOD, idempotency_key=key)

    assert (answer.status_code, [*answer.json()["errors"]]) == (422, ["Idempotency-Key"])


# --- Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OperationalError("host=10.0.0.1 password=x"), 503, "database_unavailable"),
        (Http404("secret"), 404, "not_found"),
        (BodyTooLarge("too large"), 413, "body_too_large"),
        (ZeroDivisionError("secret"), 500, "internal_error"),
    ],
)
def test_error_is_told_without_its_own_words(error: Exception, status: int, code: str) -> None:
    problem = problem_of(error)

    assert (problem.status, problem.code) == (status, code)
    assert "secret" not in problem.detail
    assert "password" not in problem.detail
