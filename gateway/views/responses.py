"""Responses the views share."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import orjson
from django.http import HttpResponse

from gateway.answers import TextStream
from gateway.inbound.requests import StreamedAnswer

RAW_FORMAT = "text/event-stream; charset=utf-8"


def json_response(document: Any) -> HttpResponse:
    return HttpResponse(orjson.dumps(document), content_type="application/json")


def raw_stream(stream: TextStream, texts: AsyncIterable[str] | None = None) -> StreamedAnswer:
    """The wire contract's raw format: the pieces of text, one after another, nothing between.

    Args:
        stream: Is closed with the response.
        texts: What to send of it, if not all as it is.
    """

    async def parts() -> AsyncIterator[bytes]:
        async for text in texts or stream:
            yield text.encode()

    return StreamedAnswer(parts(), stream.aclose, RAW_FORMAT)


def raw_whole(text: str) -> HttpResponse:
    """The raw format of an answer that could only be sent whole."""
    return HttpResponse(text, content_type=RAW_FORMAT, headers={"Cache-Control": "no-store"})
