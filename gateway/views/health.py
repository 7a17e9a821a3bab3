from django.http import HttpRequest, HttpResponse
from ninja import Router

from gateway.api_document import describes
from gateway.errors import NotReady
from gateway.requests import GatewayRequest
from gateway.schemas.code import AnswerModel
from gateway.views.responses import json_response

router = Router(tags=["monitoring"])


class Probe(AnswerModel):
    """Nothing: the status says it."""


class ConfiguredProbe(AnswerModel):
    """`configuration` changes exactly when what is served from does."""

    configuration: str


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
    return json_response({"configuration": request.runtime.snapshot.version})


def _require_ready(request: GatewayRequest) -> None:
    if request.runtime.is_draining:
        raise NotReady("The gateway is being stopped: send requests to another node.")
    if not request.runtime.snapshot.version:
        raise NotReady("The configuration could not be read yet: check the database.")
