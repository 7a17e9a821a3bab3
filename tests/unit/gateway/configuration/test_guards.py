import pytest

from feature_config.catalogue import Feature
from gateway.audit import Attribution, Origin
from gateway.configuration.errors import ChangeConflict, ManagedByFile
from gateway.configuration.guards import (
    check_not_managed_by_file,
    check_unchanged,
    differs_from_file,
    version_of,
)
from gateway.configuration.history import changing_configuration
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, build_deployment, make_deployment, setting_of

pytestmark = pytest.mark.django_db


def test_row_that_is_as_it_was_seen_passes() -> None:
    deployment = make_deployment()
    seen = version_of(deployment)

    check_unchanged(ModelDeployment.objects.get(), seen)
    check_unchanged(setting_of(Feature.DUO_CHAT), version_of(setting_of(Feature.DUO_CHAT)))


def test_conflict_says_who_changed_what() -> None:
    deployment = make_deployment(name="gpu1")
    seen = version_of(deployment)
    with changing_configuration(Attribution("bob", Origin.WEB)):
        deployment.context_tokens = 512
        deployment.save()

    with pytest.raises(ChangeConflict, match="bob changed context tokens of gpu1 .web, 20"):
        check_unchanged(deployment, seen)


def test_conflict_over_a_feature_says_who_changed_what() -> None:
    seen = version_of(setting_of(Feature.DUO_CHAT))
    with changing_configuration(Attribution("bob", Origin.REST)):
        assign(Feature.DUO_CHAT, make_deployment())

    with pytest.raises(ChangeConflict, match="bob changed answered by of GitLab Duo Chat .rest"):
        check_unchanged(setting_of(Feature.DUO_CHAT), seen)


def test_conflict_that_nobody_recorded_is_one_too() -> None:
    ModelDeployment.objects.bulk_create([build_deployment(name="gpu1")])

    with pytest.raises(ChangeConflict, match="gpu1 was changed after you opened it"):
        check_unchanged(ModelDeployment.objects.get(), "0" * 32)


def test_new_key_is_a_change() -> None:
    deployment = make_deployment(api_key="one")
    seen = version_of(deployment)

    deployment.set_api_key("two")

    assert version_of(deployment) != seen


def test_row_of_a_file_is_refused_with_the_remedy() -> None:
    with pytest.raises(ManagedByFile, match="gpu1 is managed by the configuration file: change it"):
        check_not_managed_by_file(make_deployment(name="gpu1", file_digest="0" * 32))

    check_not_managed_by_file(make_deployment())


def test_row_differs_from_its_file_until_it_is_what_the_file_said() -> None:
    deployment = make_deployment()
    assert not differs_from_file(deployment)

    deployment.file_digest = version_of(deployment)
    assert not differs_from_file(deployment)

    deployment.context_tokens = 512
    assert differs_from_file(deployment)
