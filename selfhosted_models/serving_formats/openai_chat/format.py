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
    parse_chat_body,
    parse_chat_event,
    sampling_fields,
    stream_fields,
)
from selfhosted_models.serving_formats.turns import chat_messages


class OpenAIChatFormat(ServingFormat):
    """OpenAI-compatible chat completions, as served by vLLM, llama.cpp, TGI, SGLang and Ollama.

    A completion that is one text (fill in the middle) travels as one user message.
    """

    key = "openai_chat"
    title = "OpenAI-compatible chat (/chat/completions)"
    endpoint_hint = "does it end in /v1?"
    base_path = "/v1"
    abilities = frozenset(
        {
            Ability.CHAT,
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
            "messages": chat_messages(serving, completion),
            "n": 1,
            **sampling_fields(completion.sampling),
            **stream_fields(serving, stream=stream),
        }
        return WireRequest("/chat/completions", body)

    def parse_body(self, body: bytes) -> CompletionChunk:
        return parse_chat_body(body)

    def parse_event(self, data: bytes) -> CompletionChunk:
        return parse_chat_event(data)

    def list_models(self) -> Inquiry[tuple[str, ...]]:
        return list_models()

    def find_context(self, serving: ServingConfig) -> Inquiry[int | None]:
        return find_context(serving)


FORMAT = OpenAIChatFormat()
