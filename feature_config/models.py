"""The choice: which deployment answers each feature."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models, transaction

from feature_config.catalogue import (
    FEATURES,
    NOT_SUPPORTED_CELLS,
    Feature,
    FeatureFacts,
    support_level,
)
from feature_config.signals import prompt_version_cleaning
from selfhosted_models.families import FAMILIES, ModelFamily
from selfhosted_models.models import ModelDeployment

MAX_CHOICES = 8


def feature_choices() -> list[tuple[str, str]]:
    return [(feature, facts.title) for feature, facts in FEATURES.items()]


def check_cell(feature: Feature, deployment: ModelDeployment) -> None:
    """Pass if `deployment` may be chosen for `feature`.

    Raises:
        ValidationError: Its family is not supported there; the message says so for people.
    """
    family = ModelFamily(deployment.family)
    if not support_level(feature, family).is_selectable:
        raise ValidationError(
            f"{FEATURES[feature].title} does not support {FAMILIES[family].title}, the family of "
            f"{deployment.name}: choose a deployment of another family.",
            code="not_supported",
        )


def check_choices(feature: Feature, deployments: Sequence[ModelDeployment]) -> None:
    """Pass a list of deployments that may answer `feature`, in this order.

    Raises:
        ValidationError: As `FeatureSetting.assign`.
    """
    if len({deployment.pk for deployment in deployments}) < len(deployments):
        raise ValidationError("A deployment is named twice: name each once.", code="twice")
    if len(deployments) > MAX_CHOICES:
        raise ValidationError(f"At most {MAX_CHOICES} deployments, please.", code="too_many")
    for deployment in deployments:
        check_cell(feature, deployment)


def check_prompt_version(
    feature: Feature, deployments: Sequence[ModelDeployment], prompt_version: str
) -> None:
    """Pass if the prompt of `feature` has a version that satisfies `prompt_version` for each.

    Raises:
        ValidationError: There is none, or the constraint cannot be read.
    """
    prompt_version_cleaning.send(
        FeatureSetting,
        feature=feature,
        families=tuple(dict.fromkeys(ModelFamily(item.family) for item in deployments)),
        prompt_version=prompt_version,
    )


def check_choice(
    feature: Feature, deployments: Sequence[ModelDeployment], prompt_version: str
) -> None:
    """Pass what may be chosen for `feature` as a whole.

    Raises:
        ValidationError: By field, `deployments` or `prompt_version`; nothing is said of the second
            while the first is wrong.
    """
    try:
        check_choices(feature, deployments)
    except ValidationError as error:
        raise ValidationError({"deployments": error}) from error
    try:
        check_prompt_version(feature, deployments, prompt_version)
    except ValidationError as error:
        raise ValidationError({"prompt_version": error}) from error


class FeatureSetting(models.Model):
    """What answers one feature: deployments in order, nothing (inactive), or no choice yet."""

    feature = models.CharField(
        max_length=40, primary_key=True, choices=feature_choices, editable=False
    )
    is_inactive = models.BooleanField(
        "inactive", default=False, help_text="An inactive feature is refused to everyone."
    )
    prompt_version = models.CharField(
        max_length=64,
        blank=True,
        help_text="Which versions of the feature's own prompt may be used, as in 1.0.0, ~1.2 or "
        "^1.0.0; the newest of them is. Empty leaves it to the caller, or to the newest of 1.x.",
    )
    file_digest = models.CharField(
        max_length=32,
        blank=True,
        editable=False,
        help_text="Digest of what the configuration file said of it; empty: not managed by file.",
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["feature"]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="feature_config_setting_feature_known",
                condition=models.Q(feature__in=[feature.value for feature in Feature]),
            )
        ]

    def __str__(self) -> str:
        return self.facts.title

    def save(self, *args: Any, **kwargs: Any) -> None:
        # One transaction with the receivers, so that a change that cannot be recorded is not made.
        with transaction.atomic():
            super().save(*args, **kwargs)

    @property
    def facts(self) -> FeatureFacts:
        return FEATURES[Feature(self.feature)]

    @property
    def is_managed_by_file(self) -> bool:
        """Whether the configuration file that was applied last names it."""
        return bool(self.file_digest)

    def assign(self, deployments: Sequence[ModelDeployment]) -> None:
        """Let `deployments` answer, first choice first; none leaves the feature unassigned.

        Raises:
            ValidationError: As `choose`.
        """
        self.choose(deployments, prompt_version=self.prompt_version)

    def deactivate(self) -> None:
        """Refuse the feature to everyone."""
        self._write((), is_inactive=True)

    def choose(
        self,
        deployments: Sequence[ModelDeployment],
        *,
        is_inactive: bool = False,
        prompt_version: str,
    ) -> None:
        """Make the whole choice.

        Args:
            deployments: First choice first; none leaves the feature unassigned, or inactive.
            is_inactive: Refuse it to everyone.
            prompt_version: Constraint on the version of its prompt; "" is none.

        Raises:
            ValidationError: By field: a deployment is named twice, is one too many, or is of a
                family that the feature does not support or that lacks the prompt version. Nothing
                is changed then.
        """
        check_choice(Feature(self.feature), deployments, prompt_version)
        self.prompt_version = prompt_version
        self._write(() if is_inactive else deployments, is_inactive=is_inactive)

    def _write(self, deployments: Sequence[ModelDeployment], *, is_inactive: bool) -> None:
        with transaction.atomic():
            self.choices.all().delete()
            # The families are read anew there: a colleague may have changed one meanwhile.
            FeatureChoice.objects.bulk_create(
                FeatureChoice(setting=self, position=position, deployment=item)
                for position, item in enumerate(deployments)
            )
            self.is_inactive = is_inactive
            self.save()


class FeatureChoiceQuerySet(models.QuerySet["FeatureChoice"]):
    """Keeps the copied family true whichever way rows are written."""

    def bulk_create(self, objs: Iterable["FeatureChoice"], *args: Any, **kwargs: Any) -> Any:
        choices = list(objs)
        families = _families(choice.deployment_id for choice in choices)
        for choice in choices:
            choice.family = families[choice.deployment_id]
        return super().bulk_create(choices, *args, **kwargs)

    def update(self, **kwargs: Any) -> int:
        chosen = kwargs.get("deployment", kwargs.get("deployment_id"))
        if chosen is not None:
            deployment_id = getattr(chosen, "pk", chosen)
            kwargs["family"] = _families([deployment_id])[deployment_id]
        return super().update(**kwargs)


def _families(deployment_ids: Iterable[UUID]) -> dict[UUID, str]:
    rows = ModelDeployment.objects.filter(pk__in=list(deployment_ids))
    return dict(rows.values_list("pk", "family"))


class FeatureChoice(models.Model):
    """One place in the list of deployments that may answer a feature."""

    setting = models.ForeignKey(FeatureSetting, models.CASCADE, related_name="choices")
    position = models.PositiveSmallIntegerField(help_text="0 is the first choice.")
    deployment = models.ForeignKey(ModelDeployment, models.PROTECT, related_name="choices")
    family = models.CharField(
        max_length=40,
        editable=False,
        help_text="The deployment's, copied so that the database itself can refuse a cell.",
    )

    objects = FeatureChoiceQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["setting", "position"]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="feature_config_choice_family_known",
                condition=models.Q(family__in=[family.value for family in ModelFamily]),
            ),
            models.UniqueConstraint(
                name="feature_config_choice_position_once", fields=["setting", "position"]
            ),
            models.UniqueConstraint(
                name="feature_config_choice_deployment_once", fields=["setting", "deployment"]
            ),
            *(
                models.CheckConstraint(
                    name=f"feature_config_choice_no_{feature}_{family}".replace("-", "_"),
                    condition=~models.Q(setting=feature.value, family=family.value),
                )
                for feature, family in NOT_SUPPORTED_CELLS
            ),
        ]

    def __str__(self) -> str:
        title = FEATURES[Feature(self.setting_id)].title
        return f"{title} uses {self.deployment}: choose another under Features first"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.family = _families([self.deployment_id])[self.deployment_id]
        super().save(*args, **kwargs)

    def clean(self) -> None:
        if self.deployment_id and self.setting_id:
            check_cell(Feature(self.setting_id), self.deployment)
