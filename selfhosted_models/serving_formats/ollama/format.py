from dataclasses import replace
from typing import Any

from selfhosted_models.framing import JSON_LINES
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
from selfhosted_models.serving_formats.reading import (
    load_answer,
    names_in,
    read_count,
    read_finish_reason,
    read_list,
    read_text,
)
from selfhosted_models.serving_formats.turns import chat_messages


class OllamaFormat(ServingFormat):
    """Ollama's own API. For its OpenAI-compatible one there is `openai_chat`.

    A text is sent raw, past the model's template. Code with a gap is sent as prompt and suffix only
    where the server was seen to fill it: a model whose template has no place for a suffix refuses.

    Source: Ollama's API reference.
    """

    key = "ollama"
    title = "Ollama (native /api/chat, /api/generate)"
    endpoint_hint = "is it the server's root, without /v1 or /api?"
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
    framings = JSON_LINES

    def build_request(
        self, serving: ServingConfig, completion: Completion, *, stream: bool
    ) -> WireRequest:
        path = "/api/generate"
        gap = completion.fill_in_middle
        if completion.text is not None:
            asked: dict[str, Any] = {"prompt": completion.text, "raw": True}
        elif gap is not None and serving.fills_in_middle:
            asked = {"prompt": gap.prefix, "suffix": gap.suffix}
        else:
            path = "/api/chat"
            asked = {"messages": chat_messages(serving, completion)}
        body = {
            "model": serving.model_identifier,
            **asked,
            "options": _options(serving, completion.sampling),
            "stream": stream,
        }
        return WireRequest(path, body)

    def parse_body(self, body: bytes) -> CompletionChunk:
        return replace(_chunk(load_answer(body)), is_last=True)

    def parse_event(self, data: bytes) -> CompletionChunk:
        return _chunk(load_answer(data))

    def list_models(self) -> Inquiry[tuple[str, ...]]:
        return Inquiry(
            WireRequest("/api/tags"),
            lambda body: names_in(read_list(load_answer(body), "models"), "name"),
        )

    def find_context(self, serving: ServingConfig) -> Inquiry[int | None]:
        """Ask for the context the model is loaded with: of what it could take, most is not used."""
        names = (serving.model_identifier, f"{serving.model_identifier}:latest")

        def read(body: bytes) -> int | None:
            for model in read_list(load_answer(body), "models"):
                if model.get("name") in names:
                    return read_count(model.get("context_length"))
            return None

        return Inquiry(WireRequest("/api/ps"), read)


def _options(serving: ServingConfig, sampling: Sampling) -> dict[str, Any]:
    options: dict[str, Any] = {"num_predict": sampling.max_output_tokens}
    if serving.context_tokens is not None:
        # The default is a few thousand tokens whatever the model, and longer input is cut silently.
        options["num_ctx"] = serving.context_tokens
    if sampling.temperature is not None:
        options["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        options["top_p"] = sampling.top_p
    if sampling.stop:
        options["stop"] = list(sampling.stop)
    return options


def _chunk(document: dict[str, Any]) -> CompletionChunk:
    if "message" in document:
        message = document["message"]
        if not isinstance(message, dict):
            raise FormatError("a message that is not an object")
        text = read_text(message.get("content"))
    elif "response" in document:
        text = read_text(document["response"])
    elif document.get("done") is True:  # the end of a chat may come without a message
        text = ""
    else:
        raise FormatError("neither a message nor a response")
    if document.get("done") is not True:
        return CompletionChunk(text)
    usage = Usage(
        read_count(document.get("prompt_eval_count")), read_count(document.get("eval_count"))
    )
    reason = read_finish_reason(document.get("done_reason", "stop"))
    return CompletionChunk(text, reason, usage, is_last=True)


FORMAT = OllamaFormat()
