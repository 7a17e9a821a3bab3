"""Paths of GitLab's own gateway that lead to vendors: they are known, and answered with why not."""

from typing import NoReturn

from django.http import HttpRequest
from ninja import Router

from gateway.api_document import describes
from gateway.errors import PathUnknown

router = Router(tags=["vendors"])

_REASON = "{what} is not served here: this gateway reaches only the models its customer runs."


@router.post(
    "/v1/proxy/{path:rest}", summary="Vendor pass-through (not served)", response={404: None}
)
@describes(PathUnknown("", code="vendor_path"))
async def vendor_proxy(request: HttpRequest, rest: str) -> NoReturn:
    raise PathUnknown(_REASON.format(what="A pass-through to a vendor"), code="vendor_path")


@router.post("/v1/amazon_q/{path:rest}", summary="Amazon Q (not served)", response={404: None})
@describes(PathUnknown("", code="vendor_path"))
async def amazon_q(request: HttpRequest, rest: str) -> NoReturn:
    raise PathUnknown(_REASON.format(what="Amazon Q"), code="vendor_path")


@router.post("/v1/x-ray/libraries", summary="Dependency scan (not served)", response={404: None})
@describes(PathUnknown("", code="vendor_path"))
async def x_ray(request: HttpRequest) -> NoReturn:
    raise PathUnknown(_REASON.format(what="The deprecated dependency scan"), code="vendor_path")
