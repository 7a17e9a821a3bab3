"""Documentation search, as Duo Chat's tool calls it."""

from django.http import HttpResponse
from ninja import Body, Router

from gateway.api_document import describes
from gateway.errors import ScopeDenied
from gateway.requests import GatewayRequest
from gateway.schemas.search import SearchAnswer, SearchRequest
from gateway.views.responses import json_response

router = Router(tags=["search"])

_SCOPE = "documentation_search"


@router.post(
    "/v1/search/gitlab-docs", summary="Search GitLab's documentation", response=SearchAnswer
)
@describes(ScopeDenied(""))
async def search_docs(request: GatewayRequest, payload: Body[SearchRequest]) -> HttpResponse:
    caller = request.exchange.caller
    if caller is None or _SCOPE not in caller.scopes:
        raise ScopeDenied("Unauthorized to search documentations")
    # No index is installed in this release: nothing is found, and the answer says why.
    metadata = {
        "provider": "sqlite",
        "timestamp": int(request.runtime.now()),
        "degraded": True,
        "reason": "No documentation index is installed.",
    }
    return json_response({"response": {"results": []}, "metadata": metadata})
