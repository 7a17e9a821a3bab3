"""May this user use this feature, and what would answer? Told without asking any model server.

The gates are those of every request (`gates.decide`), followed by two that a request meets at the
model servers: their circuits, as workers last wrote them down, and the way it would take.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from feature_config.catalogue import FEATURES, Feature, own_prompts
from gateway.authentication.verifier import Caller
from gateway.gates import Access, Candidate, Decision, Gate, decide
from gateway.model_metadata import ModelMetadataPolicy
from gateway.probes.endpoint_news import Key, News
from gateway.routing.endpoint_state import HealthState
from gateway.routing.errors import CircuitOpen
from gateway.snapshot import ServingSnapshot

#: What to do about each gate that is shut, where the gate's own words do not say it.
_REMEDIES = {
    "token": "Send a token of a trusted GitLab, or one made by manage.py issue_token.",
    "scope": "Give the user the GitLab Duo add-on seat that carries this scope.",
    "feature": "Assign a deployment to the feature on the Features page.",
    "deployment": "Assign an active deployment to the feature, and check that its key can be read.",
    "prompt": "Assign a deployment of a family that has this prompt, or correct the version pin.",
    "servers": "Start the model server, or correct its endpoint; manage.py probe tests it.",
}


@dataclass(frozen=True, slots=True)
class Stop:
    """One endpoint on the way of a request.

    Attributes:
        order: 1 is asked first; endpoints of one deployment share a number, the less loaded is
            asked.
        state: As last heard; "starting" if nobody has heard of it.
        reason: What is wrong with it, and what to do; "" while all is well.
        heard_at: Seconds since 1970; None if nobody has heard of it.
    """

    order: int
    deployment: str
    url: str
    state: str
    reason: str
    heard_at: float | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The gates in order, up to the first that is shut, and the way of a request.

    Attributes:
        way: Empty if a gate before the model servers is shut.
        candidates: The deployments in the order they would be asked, with the prompt of each.
        remedy: What to do; "" if nothing is in the way.
    """

    feature: Feature
    gates: tuple[Gate, ...]
    way: tuple[Stop, ...]
    remedy: str
    candidates: tuple[Candidate, ...] = ()

    @property
    def is_open(self) -> bool:
        return not self.remedy


def explain(
    feature: Feature,
    caller: Caller | None,
    snapshot: ServingSnapshot,
    news: Mapping[Key, News],
) -> Explanation:
    """Return why `caller` can or cannot use `feature`, and what would answer.

    Args:
        feature: Any of the catalogue.
        caller: Of a verified token; None for somebody without one.
        snapshot: Of the configuration as it is stored.
        news: What workers have last heard of each endpoint.
    """
    decision = decide(
        snapshot,
        caller,
        access_of(feature),
        caller_model=None,
        policy=ModelMetadataPolicy.IGNORE,
    )
    way = tuple(_stops(decision, news))
    gates = decision.gates
    if not decision.error:
        gates = (*gates, _servers_gate(way))
    shut = next((gate for gate in gates if gate.error), None)
    remedy = _REMEDIES[shut.name] if shut else ""
    return Explanation(feature, gates, way, remedy, decision.candidates)


def access_of(feature: Feature) -> Access:
    """Return what a request for the feature's own prompt needs."""
    scope = FEATURES[feature].unit_primitive
    return Access(
        feature=feature,
        unit_primitive=scope,
        prompt=own_prompts(feature)[0],
        denied_detail=f"The token lacks the scope {scope}.",
    )


def _stops(decision: Decision, news: Mapping[Key, News]) -> Iterator[Stop]:
    for order, candidate in enumerate(decision.candidates, start=1):
        serving = candidate.serving
        for endpoint in serving.endpoints:
            heard = news.get((serving.deployment, endpoint.url))
            yield Stop(
                order=order,
                deployment=serving.deployment,
                url=endpoint.url,
                state=heard.state if heard else HealthState.STARTING,
                reason=heard.reason if heard else "",
                heard_at=heard.heard_at if heard else None,
            )


def _servers_gate(way: tuple[Stop, ...]) -> Gate:
    down = [stop for stop in way if stop.state == HealthState.DOWN]
    if len(down) < len(way):
        first = next(stop for stop in way if stop.state != HealthState.DOWN)
        passed_over = f"; passed over: {', '.join(stop.url for stop in down)}" if down else ""
        return Gate("servers", f"{first.deployment} would answer{passed_over}")
    reasons = "; ".join(f"{stop.url}: {stop.reason}" for stop in down)
    refusal = CircuitOpen(way[0].deployment, 0)
    return Gate("servers", f"every endpoint is down ({reasons})", refusal)
