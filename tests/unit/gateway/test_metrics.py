"""Gauges of what a worker holds, as Prometheus reads them."""

from gateway.metrics import Sampler, exposition
from gateway.routing.fleet import Fleet
from gateway.routing.limits import Limits
from gateway.routing.quotas import Quotas
from tests.unit.gateway.parts import Clock, ModelServer, door, serving


def told(deployment: str) -> dict[str, float]:
    """Return the gauges of a deployment."""
    lines = exposition().decode().splitlines()
    found = (line.rsplit(" ", 1) for line in lines if f'deployment="{deployment}"' in line)
    return {name: float(value) for name, value in found}


async def test_a_deployment_that_was_taken_away_holds_nothing_any_more() -> None:
    clock = Clock()
    fleet = Fleet(door(ModelServer()), now=clock)
    sampler = Sampler(fleet, Quotas(Limits(), clock), lambda: None)
    fleet.take_over([serving("leaving", max_in_flight=4)])
    await sampler.sample()
    before = told("leaving")

    fleet.take_over([])
    await sampler.sample()

    assert before['duo_slots{deployment="leaving"}'] == 4
    assert set(told("leaving").values()) == {0.0}
    assert told("leaving").keys() == before.keys()
