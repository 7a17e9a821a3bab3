"""Measuring registered deployments, one at a time, against a model server on a socket."""

import time

import pytest
import structlog.testing

from gateway.models import Lease
from gateway.probes.measuring import (
    LEASE,
    AlreadyMeasuring,
    feature_prompts,
    measure_all,
    measure_each,
)
from prompts.loader import shipped_prompts
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import Fingerprint, ModelDeployment
from selfhosted_models.probing import filling
from selfhosted_models.probing.results import Trait
from tests.factories import make_deployment, make_serving
from tests.fakes.model_server import MODEL, ModelServer, Script

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]


def deployment_at(url: str, name: str = "gpu1") -> ModelDeployment:
    return make_deployment(name=name, family="general", endpoints=[url], model_identifier=MODEL)


@pytest.mark.parametrize("family", ModelFamily)
def test_every_family_is_asked_what_its_features_ask(family: ModelFamily) -> None:
    prompts = feature_prompts(shipped_prompts().registry, make_serving(family=family))

    chat, code = (
        asked.text or "".join(message.content for message in asked.messages)
        for asked in (prompts.chat, prompts.code)
    )
    assert "What is a merge request?" in chat
    assert filling.PREFIX in code
    assert "print(area(" in code


def test_a_deployment_is_measured_and_stored(model_server: ModelServer) -> None:
    deployment = deployment_at(model_server.endpoint)
    seen: list[tuple[str, Trait]] = []

    (measured,) = measure_each(on_result=lambda name, result: seen.append((name, result.trait)))

    assert measured.is_usable
    assert measured.fingerprint == deployment.fingerprints.get()
    assert seen == [("gpu1", trait) for trait in Trait]
    facts = Fingerprint.objects.get().facts
    assert (facts["chat"], facts["streaming"], facts["fill_in_middle"]) == (True, True, False)
    assert all(exchange.headers["x-request-id"] == "probe" for exchange in model_server.exchanges)


def test_deployments_are_measured_one_after_the_other(model_server: ModelServer) -> None:
    deployment_at(model_server.path("one"), "one")
    deployment_at(model_server.path("two"), "two")
    make_deployment(name="off", is_active=False)

    assert [measured.deployment for measured in measure_all()] == ["one", "two"]
    assert model_server.most_in_flight == 1
    order = [exchange.base for exchange in model_server.exchanges]
    assert order == sorted(order)


def test_measuring_again_stores_the_same(model_server: ModelServer) -> None:
    deployment_at(model_server.endpoint)

    measure_all(["gpu1"])
    measure_all(["gpu1"])

    assert Fingerprint.objects.count() == 1


def test_drift_is_logged(model_server: ModelServer) -> None:
    deployment_at(model_server.endpoint)
    measure_all()
    model_server.answer_with(Script(usage=None))

    with structlog.testing.capture_logs() as logs:
        measure_all()

    drifted = [event for event in logs if event["event"] == "fingerprint.drifted"]
    assert [event["deployment"] for event in drifted] == ["gpu1"]
    assert "stream_usage: no, was yes" in drifted[0]["changes"]


def test_one_that_cannot_be_used_does_not_keep_the_others_from_it(
    model_server: ModelServer,
) -> None:
    make_deployment(name="a", api_key_ciphertext="not a token")
    deployment_at("http://127.0.0.1:1/v1", "b")
    deployment_at(model_server.endpoint, "c")

    measured = measure_all()

    assert [(each.deployment, each.is_usable) for each in measured] == [
        ("a", False),
        ("b", False),
        ("c", True),
    ]
    assert [each.fingerprint is None for each in measured] == [True, True, False]


def test_two_do_not_measure_at_once(model_server: ModelServer) -> None:
    deployment_at(model_server.endpoint)
    Lease.objects.take(LEASE, "another", lease_s=60, now=time.time())

    with pytest.raises(AlreadyMeasuring):
        measure_all()

    assert model_server.exchanges == []
    Lease.objects.give_up(LEASE, "another")
    assert len(measure_all()) == 1
    assert not Lease.objects.filter(name=LEASE).exists()
