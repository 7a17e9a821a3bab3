"""Documentation search, as Duo Chat's tool calls it."""

from typing import Any

from django.http import HttpResponse
from ninja import Body, Router

from docsearch.results import Outcome, Passage
from gateway.api_document import describes
from gateway.documentation.search import version_of
from gateway.errors import ScopeDenied
from gateway.inbound.requests import GatewayRequest
from gateway.schemas.search import SearchAnswer, SearchRequest
from gateway.views.responses import json_response

router = Router(tags=["search"])

_SCOPE = "documentation_search"
_HEADERS = {"X-Gitlab-Version": "GitLab's version, for callers whose `metadata.version` is none."}
_DEGRADED = {Outcome.NO_INDEX, Outcome.STOPPED}


@router.post(
    "/v1/search/gitlab-docs", summary="Search GitLab's documentation", response=SearchAnswer
)
@describes(ScopeDenied(""), headers=_HEADERS)
async def search_docs(request: GatewayRequest, payload: Body[SearchRequest]) -> HttpResponse:
    caller = request.exchange.caller
    if caller is None or _SCOPE not in caller.scopes:
        raise ScopeDenied("Unauthorized to search documentations")
    sent = (payload.metadata.version, request.headers.get("X-Gitlab-Version", ""))
    result = await request.runtime.docs.search(
        payload.payload.query,
        caller_version=next(filter(version_of, sent), ""),
        limit=payload.payload.page_size,
    )
    return json_response(
        {
            "response": {"results": [_wire_passage(passage) for passage in result.passages]},
            "metadata": {
                "provider": request.runtime.docs.backend.provider,
                "timestamp": int(request.runtime.now()),
                "degraded": result.outcome in _DEGRADED,
                "outcome": result.outcome,
                "reason": result.reason,
                "warning": result.warning,
                "shown_query": result.shown_query,
            },
        }
    )


def _wire_passage(passage: Passage) -> dict[str, Any]:
    """Return a passage as GitLab knows it; it reads `id`, `content` and `metadata`."""
    filename = f"/{passage.path_below_root}"
    return {
        "id": filename,
        "content": passage.content,
        "metadata": {
            "filename": filename,
            "title": passage.title,
            "headings": list(passage.trail),
            "source_url": passage.url,
            "score": passage.score,
        },
    }
