"""How a model is asked where the caller wrote the prompt itself. Source: wire contract, 5.4."""

from prompts.tokens import cut_to_tokens
from selfhosted_models.serving_formats.base import Sampling

_CHAT_STOPS = {
    "mistral": ("</new_code>",),
    "codegemma": ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_separator|>"),
}

#: How much of a caller's own text is sent; the end of it, where the code goes on.
_TEXT_TOKENS = {"codegemma": 8192, "codellama": 16384}
_TEXT_TOKENS_OTHERWISE = 32768

COMPLETION_SAMPLING = Sampling(max_output_tokens=16, temperature=0.95, top_p=0.95)


def fitting_text(text: str, wire_name: str) -> str:
    """Return as much of the end of a caller's own text as the wire sends to a model line."""
    limit = _TEXT_TOKENS.get(wire_name, _TEXT_TOKENS_OTHERWISE)
    return cut_to_tokens(text, limit, keep="end")


def chat_sampling(wire_name: str) -> Sampling:
    """Return what the wire fixes for a model line; a caller's own parameters are not read."""
    return Sampling(
        max_output_tokens=2048,
        temperature=0.2,
        top_p=0.95,
        stop=_CHAT_STOPS.get(wire_name, ()),
    )
