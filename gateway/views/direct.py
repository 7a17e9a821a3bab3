"""How a model is asked where the caller wrote the prompt itself. Source: wire contract, 5.4."""

from selfhosted_models.serving_formats.base import Sampling

_CHAT_STOPS = {
    "mistral": ("</new_code>",),
    "codegemma": ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_separator|>"),
}

COMPLETION_SAMPLING = Sampling(max_output_tokens=16, temperature=0.95, top_p=0.95)


def chat_sampling(wire_name: str) -> Sampling:
    """Return what the wire fixes for a model line; a caller's own parameters are not read."""
    return Sampling(
        max_output_tokens=2048,
        temperature=0.2,
        top_p=0.95,
        stop=_CHAT_STOPS.get(wire_name, ()),
    )
