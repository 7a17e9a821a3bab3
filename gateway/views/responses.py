"""Responses the views share."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
from django.http import HttpResponse

from gateway.answers import TextStream
from gateway.requests import StreamedAnswer


def json_response(document: Any) -> HttpResponse:
    return HttpResponse(orjson.dumps(document), content_type="application/json")


def raw_stream(stream: TextStream) -> StreamedAnswer:
    """The wire contract's raw format: the pieces of text, one after another, nothing between."""

    async def parts() -> AsyncIterator[bytes]:
        async for text in stream:
            yield text.encode()

    return StreamedAnswer(parts(), stream.aclose, "text/event-stream; charset=utf-8")
