from django.http import HttpRequest, HttpResponse
from ninja import Router

from gateway.api_document import describes
from gateway.errors import NotReady
from gateway.inbound.requests import GatewayRequest
from gateway.schemas.code import AnswerModel
from gateway.views.responses import json_response

router = Router(tags=["monitoring"])


class Probe(AnswerModel):
    """Nothing: the status says it."""


class ConfiguredProbe(AnswerModel):
    """What is served from.

    `configuration` changes exactly when that does. `configuration_age_s` is for how long nobody has
    confirmed that it is the newest: it grows while the database or the configuration node is away.
    """

    configuration: str
    configuration_age_s: float


@router.get("/livez", summary="Is the process alive?", response=Probe, operation_id="gateway_livez")
@router.get("/monitoring/healthz", summary="Is the process alive?", response=Probe)
@describes()
async def healthz(request: HttpRequest) -> HttpResponse:
    return json_response({})


@router.get("/monitoring/ready", summary="Can it serve from what it holds?", response=Probe)
@describes(NotReady(""))
async def ready(request: GatewayRequest) -> HttpResponse:
    _require_ready(request)
    return json_response({})


@router.get(
    "/readyz",
    summary="Can it serve from what it holds, and from which configuration?",
    response=ConfiguredProbe,
)
@describes(NotReady(""))
async def readyz(request: GatewayRequest) -> HttpResponse:
    _require_ready(request)
    runtime = request.runtime
    age_s = round(runtime.configuration_age_s() or 0.0, 1)
    return json_response({"configuration": runtime.snapshot.version, "configuration_age_s": age_s})


def _require_ready(request: GatewayRequest) -> None:
    if request.runtime.is_draining:
        raise NotReady("The gateway is being stopped: send requests to another node.")
    if not request.runtime.snapshot.version:
        raise NotReady(
            "The configuration could not be read yet: check the database, or on a node without "
            "one SERVING_CONFIG_URL; the log says why."
        )
