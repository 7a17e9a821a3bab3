"""Body of `/v1/search/gitlab-docs`. Source: wire contract, section 2.6."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from docsearch.results import Outcome
from gateway.schemas.code import AnswerModel, WireModel

Text100 = Annotated[str, StringConstraints(max_length=100)]


class SearchMetadata(WireModel):
    source: Text100
    version: Text100


class SearchPayload(WireModel):
    query: Annotated[str, StringConstraints(max_length=400_000)]
    page_size: Annotated[int, Field(ge=1, le=20)] = 4


class SearchRequest(WireModel):
    type: Text100
    metadata: SearchMetadata
    payload: SearchPayload


class SearchResult(AnswerModel):
    id: str
    content: str
    metadata: dict[str, Any]


class SearchResults(AnswerModel):
    results: list[SearchResult]


class SearchAnswerMetadata(AnswerModel):
    """What `docsearch.results.SearchResult` says; `degraded`: the search could not be done."""

    provider: Literal["sqlite", "opensearch"]
    timestamp: int
    degraded: bool
    outcome: Outcome
    reason: str
    warning: str
    shown_query: str


class SearchAnswer(AnswerModel):
    response: SearchResults
    metadata: SearchAnswerMetadata
