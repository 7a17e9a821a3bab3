"""What the migrations do to rows that were there before them."""

from importlib import import_module

import pytest
from django.apps import apps
from django.conf import settings

from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import Secret
from tests.factories import make_deployment

fingerprint_stored_keys = import_module(
    "selfhosted_models.migrations.0004_fingerprint_stored_keys"
).fingerprint_stored_keys


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
