"""Answers as OpenAI's API words them, whole and in pieces."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from django.http.response import HttpResponseBase

from gateway.answers import Question, TextStream
from gateway.errors import hop_of
from gateway.exchange import Exchange
from gateway.inbound.requests import StreamedAnswer
from gateway.schemas.openai import OpenAIRequest
from gateway.views.responses import json_response
from selfhosted_models.errors import DeploymentError
from selfhosted_models.serving_formats.base import Usage


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How one endpoint words its answers.

    Attributes:
        id_prefix: Of the answer's id; the request id follows.
        kind: `object` of a whole answer.
        piece_kind: `object` of a piece.
        whole: From a text to the choice that holds it.
        piece: From a part of it to the choice that holds that.
        opening: The choice before the first piece; None for none.
        ending: The choice that carries the finish reason.
    """

    id_prefix: str
    kind: str
    piece_kind: str
    whole: Callable[[str], dict[str, Any]]
    piece: Callable[[str], dict[str, Any]]
    opening: dict[str, Any] | None
    ending: dict[str, Any]


def _text_choice(text: str) -> dict[str, Any]:
    return {"text": text, "logprobs": None}


CHAT = AnswerForm(
    id_prefix="chatcmpl-",
    kind="chat.completion",
    piece_kind="chat.completion.chunk",
    whole=lambda text: {"message": {"role": "assistant", "content": text}},
    piece=lambda text: {"delta": {"content": text}},
    opening={"delta": {"role": "assistant", "content": ""}},
    ending={"delta": {}},
)
TEXT = AnswerForm(
    id_prefix="cmpl-",
    kind="text_completion",
    piece_kind="text_completion",
    whole=_text_choice,
    piece=_text_choice,
    opening=None,
    ending=_text_choice(""),
)


async def answer(form: AnswerForm, question: Question, payload: OpenAIRequest) -> HttpResponseBase:
    """Ask, and answer in `form`: at once, or in pieces if the caller wishes."""
    exchange = question.exchange
    if payload.stream:
        stream = await question.stream()
        events = _events(form, stream, exchange, payload)
        return StreamedAnswer(
            events, stream.aclose, "text/event-stream; charset=utf-8", heartbeat=b": keep-alive\n\n"
        )
    given = await question.fetch()
    choice = {"index": 0, **form.whole(given.text), "finish_reason": given.finish_reason}
    head = _head(form, form.kind, exchange, payload)
    return json_response(head | {"choices": [choice], "usage": _usage(exchange.usage)})


async def _events(
    form: AnswerForm, stream: TextStream, exchange: Exchange, payload: OpenAIRequest
) -> AsyncIterator[bytes]:
    """Yield the answer as server-sent events; every stream ends in [DONE], after an error too."""
    head = _head(form, form.piece_kind, exchange, payload)

    def event(choice: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return _event(head | {"choices": [{"index": 0, **choice, "finish_reason": finish_reason}]})

    try:
        if form.opening is not None:
            yield event(form.opening)
        async for text in stream:
            yield event(form.piece(text))
    except DeploymentError as error:
        exchange.fail(error.code, error.safe_message, hop_of(error))
        problem = {"message": error.safe_message, "type": "api_error", "code": error.code}
        yield _event({"error": problem | {"request_id": exchange.request_id}})
    else:
        yield event(form.ending, stream.finish_reason)
        wants_usage = payload.stream_options and payload.stream_options.include_usage
        if wants_usage and exchange.usage != Usage():
            yield _event(head | {"choices": [], "usage": _usage(exchange.usage)})
    yield b"data: [DONE]\n\n"


def _head(
    form: AnswerForm, kind: str, exchange: Exchange, payload: OpenAIRequest
) -> dict[str, Any]:
    return {
        "id": form.id_prefix + exchange.request_id,
        "object": kind,
        "created": int(time.time()),
        "model": payload.model,
    }


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def _usage(usage: Usage) -> dict[str, int]:
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
