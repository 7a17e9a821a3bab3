import re
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
    WireRequest,
)
from selfhosted_models.serving_formats.reading import load_answer, load_json, names_in, read_text
from selfhosted_models.serving_formats.turns import whole_text


class TritonFormat(ServingFormat):
    """Triton's generate extension, with the inputs of TensorRT-LLM's models.

    Chat turns travel as one text in the family's chat template. A stream says neither why it ended
    nor what it took: its clean end is the only end there is. Stop words are left in the answer, so
    we cut.

    Source: Triton's protocol documents, generate and model repository extensions; the model
    configuration of TensorRT-LLM's backend.
    """

    key = "triton"
    title = "Triton (generate extension)"
    endpoint_hint = "is it the server's root, without /v2?"
    abilities = frozenset({Ability.TEXT, Ability.STREAMING, Ability.MODEL_LIST})

    # A name is a folder of the model repository; here it is one segment of a path, never of dots.
    model_names = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")
    model_names_hint = (
        "Triton's model names are a part of its URLs: letters, digits, dots, dashes and "
        "underscores, and no dot at the start."
    )

    def build_request(
        self, serving: ServingConfig, completion: Completion, *, stream: bool
    ) -> WireRequest:
        self.check_model_identifier(serving.model_identifier)
        body = {
            "text_input": whole_text(serving, completion),
            **_inputs(completion.sampling),
            "exclude_input_in_output": True,
            "stream": stream,
        }
        verb = "generate_stream" if stream else "generate"
        return WireRequest(f"/v2/models/{serving.model_identifier}/{verb}", body)

    def parse_body(self, body: bytes) -> CompletionChunk:
        return replace(_chunk(load_answer(body)), is_last=True)

    def parse_event(self, data: bytes) -> CompletionChunk:
        return _chunk(load_answer(data))

    def list_models(self) -> Inquiry[tuple[str, ...]]:
        return Inquiry(WireRequest("/v2/repository/index", {"ready": True}), _names)


def _inputs(sampling: Sampling) -> dict[str, Any]:
    fields: dict[str, Any] = {"max_tokens": sampling.max_output_tokens}
    if sampling.temperature is not None:
        fields["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        fields["top_p"] = sampling.top_p
    if sampling.stop:
        fields["stop_words"] = list(sampling.stop)
    return fields


def _chunk(document: dict[str, Any]) -> CompletionChunk:
    if "text_output" not in document:
        raise FormatError("no text output")
    return CompletionChunk(read_text(document["text_output"]))


def _names(body: bytes) -> tuple[str, ...]:
    document = load_json(body)
    if not isinstance(document, list):
        raise FormatError("no list of models")
    return names_in([item for item in document if isinstance(item, dict)], "name")


FORMAT = TritonFormat()
