"""What the home page says: how the installation stands, what is wrong, what to do first."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from docsearch.store import IndexStore, choose_version, missing_version
from feature_config.catalogue import FEATURES, Feature
from gateway.documentation.search import version_of
from gateway.pages.usage_charts import key_figures
from gateway.routing.endpoint_state import HealthState
from gateway.standing import FeatureState, Standing, Stored, health_tone, state_tone
from gateway.usage.series import last_hour
from selfhosted_models.models import ModelDeployment

#: What changed a while ago was noticed, or does no harm.
DRIFT_IS_NEWS_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class FirstStep:
    """One line of the list for those who begin.

    Attributes:
        url: Where it is done; "" if it is done elsewhere.
    """

    title: str
    how: str
    url: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps a request from being answered well.

    Attributes:
        tone: Bad where nothing answers, warn where something still does.
    """

    subject: str
    what: str
    remedy: str
    url: str
    tone: str = "bad"


def home(stored: Stored) -> dict[str, Any]:
    """Return what the template shows; a few queries, however much there is."""
    standings = {feature: stored.standing(feature) for feature in Feature}
    deployments = list(ModelDeployment.objects.prefetch_related("choices"))
    states = Counter(standing.state for standing in standings.values())
    is_first_run = not states[FeatureState.ACTIVE]
    return {
        "first_steps": _first_steps(deployments, states) if is_first_run else [],
        "problems": _problems(stored, standings, deployments),
        "feature_counts": [(state, states[state], state_tone(state)) for state in FeatureState],
        "deployment_rows": [
            (row, health, health_tone(health), len(row.choices.all()))
            for row in deployments
            for health in [stored.health(row.name) if row.is_active else "inactive"]
        ],
        "last_hour": key_figures(last_hour(timezone.now())),
        **_docs(),
        "unassigned": states[FeatureState.UNASSIGNED],
    }


def _docs() -> dict[str, Any]:
    """Return which documentation is wanted, which is installed on this node, and what is amiss."""
    installed = IndexStore.below(settings.DATA_DIR).installed()
    wanted = version_of(settings.GITLAB_VERSION)
    choice = choose_version(wanted, installed)
    return {
        "docs_versions": installed,
        "docs_wanted": wanted,
        "docs_problem": choice.warning if choice else missing_version(wanted, installed),
    }


def _first_steps(
    deployments: list[ModelDeployment], states: "Counter[FeatureState]"
) -> list[FirstStep]:
    trusts_gitlab = bool(settings.AIGW_GITLAB_URL or settings.GATEWAY_TRUSTED_ISSUERS)
    return [
        FirstStep(
            "Trust your GitLab",
            "Set AIGW_GITLAB_URL to the URL people open GitLab with, and restart the gateway.",
            "",
            trusts_gitlab,
        ),
        FirstStep(
            "Add a deployment",
            "A model server of yours: its URL, the model's family, and a key if it wants one.",
            reverse("admin:selfhosted_models_modeldeployment_add"),
            bool(deployments),
        ),
        FirstStep(
            "Let it answer a feature",
            "Choose it on the Features page; callers are served within two seconds.",
            reverse("admin:feature_config_featuresetting_changelist"),
            bool(states[FeatureState.ACTIVE] or states[FeatureState.BROKEN]),
        ),
    ]


def _problems(
    stored: Stored, standings: dict[Feature, Standing], deployments: list[ModelDeployment]
) -> list[Problem]:
    features_url = reverse("admin:feature_config_featuresetting_changelist")
    problems = [
        Problem(FEATURES[feature].title, found.problem, found.remedy, f"{features_url}#{feature}")
        for feature, found in standings.items()
        if found.state is FeatureState.BROKEN
    ]
    week_ago = timezone.now() - DRIFT_IS_NEWS_FOR
    for row in deployments:
        url = reverse("admin:selfhosted_models_modeldeployment_change", args=[row.pk])
        found = stored.fingerprints.get(row.pk)
        if found and found.has_drifted and row.is_active and found.created_at >= week_ago:
            remedy = "If nobody meant it, look at what its server was started with."
            problems.append(
                Problem(row.name, f"Its server changed: {found.drift}.", remedy, url, "warn")
            )
        if reason := stored.snapshot.unusable.get(row.name):
            problems.append(Problem(row.name, "It is left out of serving.", reason, url))
        problems += [
            Problem(
                row.name, f"{news.url} is {news.state}.", news.reason, url, health_tone(news.state)
            )
            for news in stored.news.values()
            if news.deployment == row.name
            and row.is_active
            and news.state in {HealthState.DOWN, HealthState.DEGRADED}
        ]
    return problems
