"""How each feature and deployment stands, out of what is stored: for the pages that show all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from django.conf import settings

from feature_config.catalogue import FEATURES, Feature
from gateway.authentication.verifier import Caller
from gateway.configuration.stored import read_configuration
from gateway.explain import explain
from gateway.probes.endpoint_news import Key, News, stored_news
from gateway.routing.endpoint_state import HealthState
from gateway.snapshot import ServingSnapshot, build_snapshot
from prompts.loader import shipped_prompts
from selfhosted_models.models import Fingerprint
from selfhosted_models.secrets import SecretBox

NEVER_PROBED = "never probed"
#: Of several endpoints the worst is told.
_WORST_FIRST = (HealthState.DOWN, HealthState.DEGRADED, HealthState.STARTING, HealthState.HEALTHY)


class FeatureState(StrEnum):
    ACTIVE = "active"
    BROKEN = "broken"  # something is chosen, and nothing would answer
    UNASSIGNED = "unassigned"
    INACTIVE = "inactive"


_STATE_TONES = {
    FeatureState.ACTIVE: "good",
    FeatureState.BROKEN: "bad",
    FeatureState.UNASSIGNED: "warn",
    FeatureState.INACTIVE: "",
}
_HEALTH_TONES: Mapping[str, str] = {
    HealthState.HEALTHY: "good",
    HealthState.DEGRADED: "warn",
    HealthState.DOWN: "bad",
}


def state_tone(state: FeatureState) -> str:
    """Return the colour of a state: good, warn, bad, or none."""
    return _STATE_TONES[state]


def health_tone(health: str) -> str:
    """Return the colour of a health: good, warn, bad, or none."""
    return _HEALTH_TONES.get(health, "")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a request for a feature would meet.

    Attributes:
        answering: Deployments that would answer, in the order they would be asked.
        passed_over: Chosen before the first that would answer, with the reason.
        problem: Why nothing would answer; "" while something would.
        remedy: What to do about it.
    """

    state: FeatureState
    answering: tuple[str, ...] = ()
    passed_over: Mapping[str, str] | None = None
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of configuration and health, read together in a few queries.

    Attributes:
        fingerprints: What was measured last, by the id of the deployment.
    """

    snapshot: ServingSnapshot
    news: Mapping[Key, News]
    fingerprints: Mapping[UUID, Fingerprint]

    @classmethod
    def read(cls) -> "Stored":
        box = SecretBox(settings.ENCRYPTION_KEYS)
        prompts = shipped_prompts().registry
        configuration = read_configuration()
        snapshot = build_snapshot(configuration, prompts, box)
        return cls(snapshot, stored_news(), configuration.fingerprints)

    def standing(self, feature: Feature) -> Standing:
        """Return how `feature` stands for a user whose token carries its scope."""
        route = self.snapshot.routes[feature]
        if route.is_inactive:
            return Standing(FeatureState.INACTIVE)
        if not route.chosen:
            return Standing(FeatureState.UNASSIGNED)
        scopes = frozenset({FEATURES[feature].unit_primitive})
        found = explain(feature, Caller("somebody", scopes, False), self.snapshot, self.news)
        if not found.is_open:
            return Standing(
                FeatureState.BROKEN, problem=found.gates[-1].detail, remedy=found.remedy
            )
        answering = tuple(
            dict.fromkeys(stop.deployment for stop in found.way if stop.state != HealthState.DOWN)
        )
        before = route.chosen[: route.chosen.index(answering[0])]
        passed_over = {name: self._why_not(name) for name in before}
        return Standing(FeatureState.ACTIVE, answering, passed_over)

    def _why_not(self, deployment: str) -> str:
        if deployment in self.snapshot.unusable:
            return self.snapshot.unusable[deployment]
        return "down" if deployment in self.snapshot.deployments else "inactive"

    def health(self, deployment: str) -> str:
        """Return the state of a deployment: that of its worst endpoint, or that none was probed."""
        return worst(news.state for news in self.news.values() if news.deployment == deployment)


def worst(states: Iterable[str]) -> str:
    """Return the worst of the states of endpoints; without one, that none was probed."""
    found = set(states)
    return next((state.value for state in _WORST_FIRST if state in found), NEVER_PROBED)
