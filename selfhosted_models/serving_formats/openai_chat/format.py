from typing import Any

from selfhosted_models.serving import ServingConfig
from selfhosted_models.serving_formats.base import (
    Completion,
    CompletionChunk,
    FormatError,
    Message,
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
from selfhosted_models.serving_formats.turns import fold_system


class OpenAIChatFormat(ServingFormat):
    """OpenAI-compatible chat completions, as served by vLLM, llama.cpp, TGI, SGLang and Ollama.

    A completion that is one text (fill in the middle) travels as one user message.
    """

    key = "openai_chat"
    title = "OpenAI-compatible chat (/chat/completions)"
    endpoint_hint = "does it end in /v1?"

    def build_request(
        self, serving: ServingConfig, completion: Completion, *, stream: bool
    ) -> WireRequest:
        if completion.text is not None:
            turns: tuple[Message, ...] = (Message("user", completion.text),)
        elif serving.has_system_role:
            turns = completion.messages
        else:
            turns = fold_system(completion.messages)
        body = {
            "model": serving.model_identifier,
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
            **sampling_fields(completion.sampling),
            **stream_fields(serving, stream=stream),
        }
        return WireRequest("/chat/completions", body)

    def parse_body(self, body: bytes) -> CompletionChunk:
        document = load_object(body)
        choice = first_choice(document)
        if choice is None:
            raise FormatError("no choice")
        return _read(document, choice, choice.get("message"))

    def parse_event(self, data: bytes) -> CompletionChunk | None:
        if data == DONE:
            return None
        document = load_object(data)
        choice = first_choice(document)
        if choice is None:
            return chunk(document, None, None)
        return _read(document, choice, choice.get("delta", choice.get("message")))


def _read(document: dict[str, Any], choice: dict[str, Any], said: object) -> CompletionChunk:
    if not isinstance(said, dict):
        raise FormatError("a choice without a message")
    return chunk(document, said.get("content"), choice.get("finish_reason"))
