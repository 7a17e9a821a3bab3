from django.http import HttpRequest, HttpResponse
from ninja import Router

from gateway.views.responses import json_response

router = Router(tags=["monitoring"])


@router.get("/monitoring/healthz", summary="Is the process alive?")
async def healthz(request: HttpRequest) -> HttpResponse:
    return json_response({})
