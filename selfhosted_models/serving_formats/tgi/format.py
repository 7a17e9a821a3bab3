from dataclasses import replace
from typing import Any

from selfhosted_models.serving import ServingConfig
from selfhosted_models.serving_formats.base import (
    Ability,
    Completion,
    CompletionChunk,
    ErrorReported,
    FormatError,
    Inquiry,
    Sampling,
    ServingFormat,
    Usage,
    WireRequest,
)
from selfhosted_models.serving_formats.reading import (
    load_object,
    names_in,
    read_count,
    read_finish_reason,
    read_object,
    read_text,
)
from selfhosted_models.serving_formats.turns import whole_text

#: A server takes no more unless it was started with `--max-stop-sequences`.
MAX_STOP_SEQUENCES = 4
#: The statuses it gives its own kinds of error, for those that come inside a stream.
_STATUSES = {"overloaded": 429, "validation": 422, "generation": 424}


class TGIFormat(ServingFormat):
    """Text Generation Inference's own API. For its OpenAI-compatible one there is `openai_chat`.

    Chat turns travel as one text in the family's chat template. A stop sequence is a part of the
    answer, and only noticed where tokens happen to begin and end with it, so we cut.

    Source: TGI's OpenAPI document and router (errors inside a stream under a status of 200).
    """

    key = "tgi"
    title = "Text Generation Inference (native /generate)"
    endpoint_hint = "is it the server's root, without /v1?"
    abilities = frozenset(
        {
            Ability.TEXT,
            Ability.STREAMING,
            Ability.STREAM_USAGE,
            Ability.FINISH_REASON,
            Ability.MODEL_LIST,
            Ability.CONTEXT,
        }
    )

    def build_request(
        self, serving: ServingConfig, completion: Completion, *, stream: bool
    ) -> WireRequest:
        body = {
            "inputs": whole_text(serving, completion),
            "parameters": _parameters(completion.sampling),
        }
        return WireRequest("/generate_stream" if stream else "/generate", body)

    def parse_body(self, body: bytes) -> CompletionChunk:
        return _whole(_load(body))

    def parse_event(self, data: bytes) -> CompletionChunk:
        document = _load(data)
        if "token" not in document:
            return _whole(document)
        token = document["token"]
        if not isinstance(token, dict):
            raise FormatError("a token that is not an object")
        text = "" if token.get("special") is True else read_text(token.get("text"))
        return _chunk(document, text)

    def list_models(self) -> Inquiry[tuple[str, ...]]:
        return Inquiry(WireRequest("/info"), _names)

    def find_context(self, serving: ServingConfig) -> Inquiry[int | None]:
        return Inquiry(
            WireRequest("/info"), lambda body: read_count(_load(body).get("max_total_tokens"))
        )


def _parameters(sampling: Sampling) -> dict[str, Any]:
    """Return the request's parameters. A temperature of 0 is refused: it is asked for as greedy."""
    parameters: dict[str, Any] = {
        "max_new_tokens": sampling.max_output_tokens,
        "details": True,
        "return_full_text": False,
    }
    if sampling.temperature == 0:
        parameters["do_sample"] = False
    else:
        if sampling.temperature is not None:
            parameters |= {"do_sample": True, "temperature": sampling.temperature}
        if sampling.top_p is not None and 0 < sampling.top_p < 1:  # others are refused
            parameters["top_p"] = sampling.top_p
    if sampling.stop:
        parameters["stop"] = list(sampling.stop[:MAX_STOP_SEQUENCES])
    return parameters


def _load(data: bytes) -> dict[str, Any]:
    document = load_object(data)
    if document.get("error"):
        kind = document.get("error_type")
        status = _STATUSES.get(kind, 500) if isinstance(kind, str) else 500
        raise ErrorReported(status=status, is_overloaded=kind == "overloaded")
    return document


def _names(body: bytes) -> tuple[str, ...]:
    document = _load(body)
    if "model_id" not in document:  # other servers have an /info of their own
        raise FormatError("no model_id")
    return names_in([document], "model_id")


def _whole(document: dict[str, Any]) -> CompletionChunk:
    if "generated_text" not in document:
        raise FormatError("no generated text")
    return replace(_chunk(document, read_text(document["generated_text"])), is_last=True)


def _chunk(document: dict[str, Any], text: str) -> CompletionChunk:
    """Return the chunk; the details, which only the last event has, say why it ended."""
    details = read_object(document, "details")
    if not details:
        return CompletionChunk(text)
    usage = Usage(
        read_count(details.get("input_length")), read_count(details.get("generated_tokens"))
    )
    reason = read_finish_reason(details.get("finish_reason"))
    return CompletionChunk(text, reason, usage, is_last=reason is not None)


FORMAT = TGIFormat()
