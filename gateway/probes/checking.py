"""Does each endpoint of a deployment work? The cheap probe, one after the other."""

import time
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, replace

from django.conf import settings

from gateway.doors import model_server_door
from selfhosted_models.endpoints import Endpoint
from selfhosted_models.errors import DeploymentError
from selfhosted_models.models import ModelDeployment
from selfhosted_models.outbound import OutboundDoor
from selfhosted_models.probing.check import check_endpoint
from selfhosted_models.probing.outcomes import Outcome, outcome_of
from selfhosted_models.secrets import SecretBox
from selfhosted_models.serving import Clocks, ServingConfig

CHECK_WITHIN_S = 10.0
CONNECT_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True)
class Checked:
    """One endpoint, asked for a sign of life.

    Attributes:
        message: What happened and what to do; "" if it is well.
    """

    deployment: str
    endpoint: str
    outcome: Outcome = Outcome.OK
    message: str = ""
    took_ms: float = 0.0

    @property
    def is_well(self) -> bool:
        return self.outcome is Outcome.OK


async def check_each(
    rows: Iterable[ModelDeployment], timeout_s: float = CHECK_WITHIN_S
) -> AsyncGenerator[Checked, None]:
    """Yield each endpoint of each deployment once it was asked.

    Args:
        rows: Stored or not; read already.
        timeout_s: For each endpoint.
    """
    box = SecretBox(settings.ENCRYPTION_KEYS)
    clocks = Clocks(min(CONNECT_WITHIN_S, timeout_s), timeout_s, timeout_s, timeout_s)
    async with model_server_door() as door:
        for row in rows:
            try:
                serving = row.to_serving_config(box)
            except DeploymentError as error:
                yield Checked(row.name, "", outcome_of(error), error.admin_message)
                continue
            for endpoint in serving.endpoints:
                yield await _check(door, serving, endpoint, clocks)


async def _check(
    door: OutboundDoor, serving: ServingConfig, endpoint: Endpoint, clocks: Clocks
) -> Checked:
    checked = Checked(serving.deployment, endpoint.url)
    started_at = time.monotonic()
    try:
        await check_endpoint(door, serving, endpoint, clocks)
    except DeploymentError as error:
        checked = replace(checked, outcome=outcome_of(error), message=error.admin_message)
    return replace(checked, took_ms=round((time.monotonic() - started_at) * 1000, 1))
