from selfhosted_models.serving import ServingConfig
from selfhosted_models.serving_formats.base import (
    Ability,
    Completion,
    CompletionChunk,
    Inquiry,
    ServingFormat,
    WireRequest,
)
from selfhosted_models.serving_formats.openai_json import (
    find_context,
    list_models,
    parse_text_body,
    parse_text_event,
    sampling_fields,
    stream_fields,
)
from selfhosted_models.serving_formats.turns import whole_text


class OpenAITextFormat(ServingFormat):
    """OpenAI-compatible text completions, as served by vLLM, llama.cpp and SGLang.

    Chat turns travel as one text in the family's chat template, and code with a gap in the family's
    own tokens: `suffix` is refused by vLLM and left out of account by most others.
    """

    key = "openai_text"
    title = "OpenAI-compatible text (/completions)"
    endpoint_hint = "does it end in /v1?"
    base_path = "/v1"
    abilities = frozenset(
        {
            Ability.TEXT,
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
        body = {
            "model": serving.model_identifier,
            "prompt": whole_text(serving, completion),
            "n": 1,
            **sampling_fields(completion.sampling),
            **stream_fields(serving, stream=stream),
        }
        return WireRequest("/completions", body)

    def parse_body(self, body: bytes) -> CompletionChunk:
        return parse_text_body(body)

    def parse_event(self, data: bytes) -> CompletionChunk:
        return parse_text_event(data)

    def list_models(self) -> Inquiry[tuple[str, ...]]:
        return list_models()

    def find_context(self, serving: ServingConfig) -> Inquiry[int | None]:
        return find_context(serving)


FORMAT = OpenAITextFormat()
