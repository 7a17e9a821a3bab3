from typing import Any

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
)
from selfhosted_models.serving_formats.turns import chat_messages


class MistralFIMFormat(ServingFormat):
    """Mistral's own API, as Codestral is served by: the gap in code travels as prompt and suffix.

    Chat turns go to its chat completions. Both answer with chat choices, a stream with its usage
    unasked; members that the API does not know are refused, so none are sent.

    Source: Mistral API reference, FIM and chat.
    """

    key = "mistral_fim"
    title = "Mistral FIM (/fim/completions)"
    endpoint_hint = "does it end in /v1?"
    base_path = "/v1"
    abilities = frozenset(
        {
            Ability.CHAT,
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
        path = "/fim/completions"
        if (gap := completion.fill_in_middle) is not None:
            asked: dict[str, Any] = {"prompt": gap.prefix, "suffix": gap.suffix}
        elif completion.text is not None:
            asked = {"prompt": completion.text}
        else:
            path = "/chat/completions"
            asked = {"messages": chat_messages(serving, completion)}
        return WireRequest(
            path,
            {
                "model": serving.model_identifier,
                **asked,
                **sampling_fields(completion.sampling),
                "stream": stream,
            },
        )

    def parse_body(self, body: bytes) -> CompletionChunk:
        return parse_chat_body(body)

    def parse_event(self, data: bytes) -> CompletionChunk:
        return parse_chat_event(data)

    def list_models(self) -> Inquiry[tuple[str, ...]]:
        return list_models()

    def find_context(self, serving: ServingConfig) -> Inquiry[int | None]:
        return find_context(serving)


FORMAT = MistralFIMFormat()
