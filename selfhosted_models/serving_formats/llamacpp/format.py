from dataclasses import replace
from typing import Any

from selfhosted_models.serving import ServingConfig
from selfhosted_models.serving_formats.base import (
    Ability,
    Completion,
    CompletionChunk,
    FormatError,
    Inquiry,
    Sampling,
    ServingFormat,
    Usage,
    WireRequest,
)
from selfhosted_models.serving_formats.openai_json import list_models
from selfhosted_models.serving_formats.reading import (
    load_answer,
    read_count,
    read_finish_reason,
    read_object,
    read_text,
)
from selfhosted_models.serving_formats.turns import whole_text


class LlamaCppFormat(ServingFormat):
    """llama.cpp's own API. For its OpenAI-compatible one there are `openai_chat` and `openai_text`.

    Chat turns travel as one text in the family's chat template. Code with a gap goes to `/infill`
    only where the server was seen to fill it: a model without the tokens for it refuses.

    Source: README of llama.cpp's server.
    """

    key = "llamacpp"
    title = "llama.cpp (native /completion, /infill)"
    endpoint_hint = "is it the server's root, without /v1?"
    abilities = frozenset(
        {
            Ability.TEXT,
            Ability.FILL_IN_MIDDLE,
            Ability.STREAMING,
            Ability.STREAM_USAGE,
            Ability.FINISH_REASON,
            Ability.STOP_SEQUENCES,
            Ability.MODEL_LIST,
            Ability.CONTEXT,
        }
    )

    def build_request(
        self, serving: ServingConfig, completion: Completion, *, stream: bool
    ) -> WireRequest:
        path = "/completion"
        gap = completion.fill_in_middle
        if completion.text is None and gap is not None and serving.fills_in_middle:
            path = "/infill"
            asked = {"input_prefix": gap.prefix, "input_suffix": gap.suffix}
        else:
            asked = {"prompt": whole_text(serving, completion)}
        body = {
            "model": serving.model_identifier,
            **asked,
            **_sampling_fields(completion.sampling),
            "stream": stream,
        }
        return WireRequest(path, body)

    def parse_body(self, body: bytes) -> CompletionChunk:
        return replace(_chunk(load_answer(body)), is_last=True)

    def parse_event(self, data: bytes) -> CompletionChunk:
        return _chunk(load_answer(data))

    def list_models(self) -> Inquiry[tuple[str, ...]]:
        return list_models()

    def find_context(self, serving: ServingConfig) -> Inquiry[int | None]:
        def read(body: bytes) -> int | None:
            settings = read_object(load_answer(body), "default_generation_settings")
            return read_count(settings.get("n_ctx"))

        return Inquiry(WireRequest("/props"), read)


def _sampling_fields(sampling: Sampling) -> dict[str, Any]:
    fields: dict[str, Any] = {"n_predict": sampling.max_output_tokens}
    if sampling.temperature is not None:
        fields["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        fields["top_p"] = sampling.top_p
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    return fields


def _chunk(document: dict[str, Any]) -> CompletionChunk:
    if "content" not in document:
        raise FormatError("no content")
    text = read_text(document["content"])
    if document.get("stop") is not True:
        return CompletionChunk(text)
    usage = Usage(
        read_count(document.get("tokens_evaluated")), read_count(document.get("tokens_predicted"))
    )
    # Versions before `stop_type` say it by flags.
    kind = document.get("stop_type", "limit" if document.get("stopped_limit") is True else "eos")
    return CompletionChunk(text, read_finish_reason(kind), usage, is_last=True)


FORMAT = LlamaCppFormat()
