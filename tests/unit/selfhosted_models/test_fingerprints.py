"""Storing what was measured, seeing what changed, and building requests from it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from pytest_django import DjangoAssertNumQueries

from selfhosted_models.models import Fingerprint, ModelDeployment
from selfhosted_models.probing.results import AbilityResult, State, Trait
from selfhosted_models.secrets import SecretBox
from selfhosted_models.serving import ServingConfig
from tests.factories import make_deployment

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NIGHT = NOON + timedelta(hours=12)

WELL = {
    Trait.REACHABLE: State.YES,
    Trait.AUTHENTICATED: State.YES,
    Trait.CHAT: State.YES,
    Trait.STREAMING: State.YES,
}


def findings(context_tokens: int | None = 8192, **states: State) -> list[AbilityResult]:
    every = {**WELL, **{Trait(name): state for name, state in states.items()}}
    results = [
        AbilityResult(trait=trait, state=state, detail="seen") for trait, state in every.items()
    ]
    state = State.UNKNOWN if context_tokens is None else State.YES
    context = AbilityResult(
        trait=Trait.CONTEXT, state=state, detail="seen", context_tokens=context_tokens
    )
    return [*results, context]


def record(
    deployment: ModelDeployment, results: list[AbilityResult], at: datetime = NOON
) -> Fingerprint:
    stored = Fingerprint.objects.record(deployment, results, at=at)
    assert stored is not None
    return stored


def serving(deployment: ModelDeployment) -> ServingConfig:
    newest = Fingerprint.objects.newest().by_deployment()
    return deployment.to_serving_config(
        SecretBox(settings.ENCRYPTION_KEYS), newest.get(deployment.pk)
    )


# --- Storing -------------------------------------------------------------------------------------


def test_what_was_measured_is_stored_with_every_finding() -> None:
    stored = record(make_deployment(), findings(tools=State.NO))

    stored.refresh_from_db()
    assert stored.facts == {"chat": True, "streaming": True, "tools": False, "context": 8192}
    assert [result["trait"] for result in stored.results] == [
        *("reachable", "authenticated", "chat", "streaming", "tools", "context")
    ]
    assert (stored.created_at, stored.measured_at) == (NOON, NOON)
    assert not stored.has_drifted


def test_the_same_again_is_the_same_row_with_its_newest_times() -> None:
    deployment = make_deployment()
    first = record(deployment, findings())

    again = record(deployment, findings(), NIGHT)

    assert again.pk == first.pk
    assert (again.created_at, again.measured_at) == (NOON, NIGHT)
    assert Fingerprint.objects.count() == 1


def test_a_change_is_an_event_that_says_what_changed() -> None:
    deployment = make_deployment()
    first = record(deployment, findings(streaming=State.YES))

    second = record(deployment, findings(4096, streaming=State.NO), NIGHT)

    assert second.pk != first.pk
    assert second.differences == {"context": [8192, 4096], "streaming": [True, False]}
    assert second.drift == "context: 4,096, was 8,192; streaming: no, was yes"
    assert [*Fingerprint.objects.drifted()] == [second]


def test_what_could_not_be_measured_keeps_its_last_value() -> None:
    deployment = make_deployment()
    first = record(deployment, findings())

    again = record(deployment, findings(None, streaming=State.UNKNOWN), NIGHT)

    assert again.pk == first.pk
    assert again.facts["context"] == 8192


def test_what_becomes_known_later_is_no_drift() -> None:
    deployment = make_deployment()
    record(deployment, findings(None))

    again = record(deployment, findings(), NIGHT)

    assert not again.has_drifted
    assert again.facts["context"] == 8192


@pytest.mark.parametrize(
    "states",
    [
        {"reachable": State.NO},
        {"authenticated": State.NO},
        {"chat": State.NO},
        {"chat": State.UNKNOWN, "text": State.NOT_APPLICABLE},
    ],
    ids=str,
)
def test_a_server_that_does_not_answer_leaves_the_last_fingerprint(
    states: dict[str, State],
) -> None:
    deployment = make_deployment()
    first = record(deployment, findings())

    assert Fingerprint.objects.record(deployment, findings(4096, **states), at=NIGHT) is None
    assert [*Fingerprint.objects.all()] == [first]


def test_a_deployment_deleted_meanwhile_is_passed_over() -> None:
    deployment = make_deployment()
    ModelDeployment.objects.all().delete()

    assert Fingerprint.objects.record(deployment, findings()) is None


def test_going_back_to_what_it_was_is_a_change_too() -> None:
    deployment = make_deployment()
    for number, tokens in enumerate((8192, 4096, 8192)):
        record(deployment, findings(tokens), NOON + timedelta(days=number))

    assert Fingerprint.objects.drifted().count() == 2
    assert serving(deployment).context_tokens == 8192


# --- Requests are built from it ------------------------------------------------------------------


def test_requests_are_as_the_server_was_seen_to_want_them() -> None:
    deployment = make_deployment(family="general", serving_format="llamacpp")
    before = serving(deployment)
    record(
        deployment,
        findings(
            system_role=State.NO,
            stream_usage=State.NO,
            native_fill_in_middle=State.YES,
            stop_sequences=State.NO,
        ),
    )

    after = serving(deployment)

    assert (before.has_system_role, after.has_system_role) == (True, False)
    assert (before.reports_stream_usage, after.reports_stream_usage) == (True, False)
    assert (before.fills_in_middle, after.fills_in_middle) == (False, True)
    assert (before.honours_stop, after.honours_stop) == (True, False)
    assert (before.context_tokens, after.context_tokens) == (None, 8192)


def test_a_system_role_that_works_is_used_though_the_family_has_none() -> None:
    deployment = make_deployment(family="mistral-7b")
    assert serving(deployment).has_system_role is False

    record(deployment, findings(system_role=State.YES))

    assert serving(deployment).has_system_role is True


def test_the_admins_context_is_not_overridden() -> None:
    deployment = make_deployment(context_tokens=2048)
    record(deployment, findings())

    assert serving(deployment).context_tokens == 2048


@pytest.mark.parametrize(
    "change",
    [
        {"endpoints": ["http://10.0.4.12:8000/v1"]},
        {"model_identifier": "another"},
        {"serving_format": "openai_text"},
        {"family": "codegemma-2b"},
    ],
    ids=str,
)
def test_a_fingerprint_is_not_that_of_another_server(change: dict[str, Any]) -> None:
    deployment = make_deployment()
    record(deployment, findings())
    for name, value in change.items():
        setattr(deployment, name, value)
    deployment.save()

    assert serving(deployment).context_tokens is None
    assert not record(deployment, findings(4096), NIGHT).has_drifted
    assert serving(deployment).context_tokens == 4096


def test_another_endpoint_beside_the_measured_one_changes_nothing() -> None:
    deployment = make_deployment()
    record(deployment, findings())

    deployment.endpoints = ["http://10.0.4.11:8000/v1/ weight=3", "http://10.0.4.12:8000/v1"]

    assert serving(deployment).context_tokens == 8192


def test_the_newest_of_every_deployment_are_read_by_one_query(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(3):
        deployment = make_deployment()
        record(deployment, findings())
        record(deployment, findings(4096), NIGHT)

    with django_assert_num_queries(1):
        newest = Fingerprint.objects.newest().by_deployment()

    assert {row.facts["context"] for row in newest.values()} == {4096}
    assert len(newest) == 3
