"""What this app does when something changes below it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError

from feature_config.catalogue import FEATURES, Feature, support_level
from feature_config.models import FeatureChoice, FeatureSetting
from selfhosted_models.families import FAMILIES, ModelFamily
from selfhosted_models.models import ModelDeployment


def add_missing_settings(**_: Any) -> None:
    """Give each feature of the catalogue its row; a new one starts unassigned."""
    FeatureSetting.objects.bulk_create(
        [FeatureSetting(feature=feature) for feature in Feature], ignore_conflicts=True
    )


def refuse_unsupported_family(*, deployment: ModelDeployment, **_: Any) -> None:
    """Refuse a family that a feature using the deployment does not support."""
    if deployment.family not in list(ModelFamily):  # the field's own error says so
        return
    family = ModelFamily(deployment.family)
    used_by = FeatureChoice.objects.filter(deployment_id=deployment.pk).values_list(
        "setting_id", flat=True
    )
    refusing = [
        FEATURES[Feature(feature)].title
        for feature in used_by
        if not support_level(Feature(feature), family).is_selectable
    ]
    if refusing:
        raise ValidationError(
            {
                "family": f"{', '.join(refusing)} uses this deployment and does not support "
                f"{FAMILIES[family].title}: choose another deployment there first."
            }
        )


def copy_families(*, deployment_ids: Sequence[UUID], **_: Any) -> None:
    """Keep the choices' copy of the family true, so that their database constraint can judge it."""
    deployments = ModelDeployment.objects.filter(pk__in=deployment_ids)
    for deployment_id, family in deployments.values_list("pk", "family"):
        stale = FeatureChoice.objects.filter(deployment_id=deployment_id).exclude(family=family)
        stale.update(family=family)
