from django.http import HttpRequest, HttpResponse
from ninja import Router

from gateway.errors import NotReady
from gateway.requests import GatewayRequest
from gateway.views.responses import json_response

router = Router(tags=["monitoring"])


@router.get("/livez", summary="Is the process alive?")
@router.get("/monitoring/healthz", summary="Is the process alive?")
async def healthz(request: HttpRequest) -> HttpResponse:
    return json_response({})


@router.get("/monitoring/ready", summary="Can it serve from what it holds?")
async def ready(request: GatewayRequest) -> HttpResponse:
    _require_ready(request)
    return json_response({})


@router.get("/readyz", summary="Can it serve from what it holds, and from which configuration?")
async def readyz(request: GatewayRequest) -> HttpResponse:
    _require_ready(request)
    return json_response({"configuration": request.runtime.snapshot.version})


def _require_ready(request: GatewayRequest) -> None:
    if request.runtime.is_draining:
        raise NotReady("The gateway is being stopped: send requests to another node.")
    if not request.runtime.snapshot.version:
        raise NotReady("The configuration could not be read yet: check the database.")
