"""What the migrations do to rows that were there before them."""

from importlib import import_module

import pytest
from django.apps import apps
from django.conf import settings

from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import Secret
from tests.factories import make_deployment, make_fingerprint, make_run

fingerprint_stored_keys = import_module(
    "selfhosted_models.migrations.0004_fingerprint_stored_keys"
).fingerprint_stored_keys

distinct_names = import_module(
    "selfhosted_models.migrations.0008_deployment_name_unique_in_any_case"
).distinct_names

fill_fingerprint_facts = import_module("prompts.migrations.0003_run_fingerprint_facts").fill


@pytest.mark.django_db
def test_runs_of_before_get_what_their_server_was_measured_to_be() -> None:
    deployment = make_deployment()
    digest = make_fingerprint(deployment, context=8192).digest
    make_fingerprint(deployment, context=4096)
    known, unknown = make_run(deployment, fingerprint_digest=digest), make_run(deployment)

    fill_fingerprint_facts(apps, None)

    for run in (known, unknown):
        run.refresh_from_db()
    assert (known.fingerprint_facts, unknown.fingerprint_facts) == ({"context": 8192}, {})


@pytest.mark.django_db
def test_keys_stored_before_get_their_fingerprint() -> None:
    good, broken = make_deployment(api_key="a-key"), make_deployment(api_key="another")
    without = make_deployment()
    ModelDeployment.objects.update(api_key_fingerprint="")
    ModelDeployment.objects.filter(pk=broken.pk).update(api_key_ciphertext="nonsense")

    fingerprint_stored_keys(apps, None)

    found = dict(ModelDeployment.objects.values_list("pk", "api_key_fingerprint"))
    assert found[good.pk] == Secret("a-key").fingerprint(keyed_by=settings.SECRET_KEY)
    assert found[broken.pk] not in ("", found[good.pk])
    assert found[without.pk] == ""


def test_names_that_differ_by_case_alone_get_a_number_the_oldest_keeps_its_own() -> None:
    names = ["gpu", "GPU", "other", "Gpu", "gpu (2)"]

    assert distinct_names(names) == ["gpu", "GPU (3)", "other", "Gpu (4)", "gpu (2)"]


def test_a_long_name_has_room_for_its_number() -> None:
    assert max(map(len, distinct_names(["a" * 100, "A" * 100]))) <= 100
