from collections.abc import Mapping

import pytest

from feature_config.catalogue import FEATURES, Feature
from gateway.authentication.verifier import Caller
from gateway.explain import Explanation, Stop, explain
from gateway.probes.endpoint_news import Key, News
from gateway.snapshot import ServingSnapshot
from tests.unit.gateway.parts import serving, snapshot

FEATURE = Feature.CODE_COMPLETIONS
ONE, TWO = "http://10.0.4.11:8000/v1", "http://10.0.4.12:8000/v1"
SOMEBODY = Caller("somebody", frozenset({"complete_code"}), is_own_issued=False)
ASSIGNED = snapshot(
    [serving("gpu1", endpoints=[ONE]), serving("gpu2", endpoints=[TWO])],
    {FEATURE: ["gpu1", "gpu2"]},
)


def heard(deployment: str, url: str, state: str, reason: str = "") -> dict[Key, News]:
    return {(deployment, url): News(deployment, url, state, reason, since=1.0, heard_at=2.0)}


def explained(
    caller: Caller | None = SOMEBODY,
    serves: ServingSnapshot = ASSIGNED,
    news: Mapping[Key, News] | None = None,
) -> Explanation:
    return explain(FEATURE, caller, serves, news or {})


def shut_gate(found: Explanation) -> str:
    assert [gate.error is None for gate in found.gates[:-1]] == [True] * (len(found.gates) - 1)
    assert found.gates[-1].error is not None
    assert found.remedy
    return found.gates[-1].name


def test_open_way_has_every_gate_and_the_fallback() -> None:
    found = explained(news=heard("gpu1", ONE, "healthy"))

    assert found.is_open
    assert [gate.name for gate in found.gates] == [
        *("token", "scope", "feature", "deployment", "prompt", "servers")
    ]
    assert found.way == (
        Stop(1, "gpu1", ONE, "healthy", "", 2.0),
        Stop(2, "gpu2", TWO, "starting", "", None),
    )


@pytest.mark.parametrize(
    ("caller", "serves", "gate"),
    [
        (None, ASSIGNED, "token"),
        (Caller("somebody", frozenset({"duo_chat"}), is_own_issued=False), ASSIGNED, "scope"),
        (SOMEBODY, snapshot([], {FEATURE: None}), "feature"),
        (SOMEBODY, snapshot(), "deployment"),
        (SOMEBODY, snapshot([], {FEATURE: ["gone"]}), "deployment"),
    ],
)
def test_first_gate_that_is_shut_is_the_last_told(
    caller: Caller | None, serves: ServingSnapshot, gate: str
) -> None:
    found = explained(caller, serves)

    assert shut_gate(found) == gate
    assert found.way == ()


def test_a_server_that_is_down_is_passed_over() -> None:
    found = explained(news=heard("gpu1", ONE, "down", "It cannot be reached."))

    assert found.is_open
    assert found.gates[-1].detail == f"gpu2 would answer; passed over: {ONE}"


def test_all_servers_down_shut_the_last_gate_and_say_why() -> None:
    news = heard("gpu1", ONE, "down", "It cannot be reached.") | heard("gpu2", TWO, "down", "401.")

    found = explained(news=news)

    assert shut_gate(found) == "servers"
    assert f"{ONE}: It cannot be reached.; {TWO}: 401." in found.gates[-1].detail


@pytest.mark.parametrize("feature", list(Feature))
def test_every_feature_can_be_explained(feature: Feature) -> None:
    scopes = frozenset({FEATURES[feature].unit_primitive})
    serves = snapshot([serving("gpu1", endpoints=[ONE])], {feature: ["gpu1"]})

    found = explain(feature, Caller("somebody", scopes, is_own_issued=False), serves, {})

    assert found.is_open
