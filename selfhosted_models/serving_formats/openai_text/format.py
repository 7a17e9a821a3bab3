from selfhosted_models.serving import ServingConfig
from selfhosted_models.serving_formats.base import (
    Completion,
    CompletionChunk,
    FormatError,
    ServingFormat,
    WireRequest,
)
from selfhosted_models.serving_formats.openai_json import (
    DONE,
    chunk,
    first_choice,
    load_object,
    sampling_fields,
    stream_fields,
)
from selfhosted_models.serving_formats.turns import as_text


class OpenAITextFormat(ServingFormat):
    """OpenAI-compatible text completions, as served by vLLM, llama.cpp and TGI.

    Chat turns travel as one text in the family's chat template.
    """

    key = "openai_text"
    title = "OpenAI-compatible text (/completions)"
    endpoint_hint = "does it end in /v1?"

    def build_request(
        self, serving: ServingConfig, completion: Completion, *, stream: bool
    ) -> WireRequest:
        text = completion.text
        body = {
            "model": serving.model_identifier,
            "prompt": as_text(completion.messages, serving.family) if text is None else text,
            **sampling_fields(completion.sampling),
            **stream_fields(serving, stream=stream),
        }
        return WireRequest("/completions", body)

    def parse_body(self, body: bytes) -> CompletionChunk:
        document = load_object(body)
        choice = first_choice(document)
        if choice is None:
            raise FormatError("no choice")
        return chunk(document, choice.get("text"), choice.get("finish_reason"))

    def parse_event(self, data: bytes) -> CompletionChunk | None:
        if data == DONE:
            return None
        document = load_object(data)
        choice = first_choice(document) or {}
        return chunk(document, choice.get("text"), choice.get("finish_reason"))
