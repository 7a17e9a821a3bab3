from django.http import HttpResponse
from ninja import Router

from gateway.api_document import describes
from gateway.authentication.tokens import issue_token
from gateway.errors import HeaderMissing, ScopeDenied
from gateway.inbound.requests import GatewayRequest
from gateway.schemas.user_tokens import UserToken
from gateway.views.responses import json_response

router = Router(tags=["tokens"])

_SCOPE = "complete_code"
_REQUIRED_HEADERS = ("X-Gitlab-Global-User-Id", "X-Gitlab-Instance-Id", "X-Gitlab-Realm")


@router.post(
    "/v1/code/user_access_token",
    summary="A short-lived token for a user's IDE",
    response=UserToken,
)
@describes(ScopeDenied(""), HeaderMissing(""), required=_REQUIRED_HEADERS)
async def user_access_token(request: GatewayRequest) -> HttpResponse:
    caller = request.exchange.caller
    if caller is None or caller.is_own_issued or _SCOPE not in caller.scopes:
        raise ScopeDenied("Unauthorized to create user access token for code suggestions")
    for name in _REQUIRED_HEADERS:
        if not request.headers.get(name):
            raise HeaderMissing(f"Missing {name} header")
    user_id, instance_id, realm = (request.headers[name] for name in _REQUIRED_HEADERS)
    runtime = request.runtime
    token, expires_at = issue_token(
        runtime.options.own_keys,
        service_name=runtime.options.service_name,
        user_id=user_id,
        scopes=[_SCOPE],
        now=runtime.now(),
        claims={
            "gitlab_realm": realm,
            "gitlab_instance_id": instance_id,
            "duo_seat_count": caller.seat_count,
        },
    )
    return json_response({"token": token, "expires_at": expires_at})
