"""What models are asked when they are measured, and what to look for in the answers. Pure."""

from dataclasses import replace

from selfhosted_models.serving_formats.base import Completion, CompletionChunk

FEW_TOKENS = 8
ANSWER_TOKENS = 24
SPOKEN_TOKENS = 32

GREETING = "Say hello."
COUNTING = "Count from one to thirty in words, separated by spaces."
#: Long enough to be seen in the count of tokens, over what a template may say in its place.
SYSTEM = (
    "You take part in a test of a text program that runs on a computer in a quiet office. There "
    "is a large window, a wooden desk, two green plants, a lamp, a shelf of old books about trains "
    "and rivers, and a small radio that plays music in the evening. Whatever you are asked, answer "
    "with the one word marigold and with nothing else at all."
)
SYSTEM_WORD = "marigold"
LEAST_SYSTEM_TOKENS = 35
THINKING = ("<think>", "</think>")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "current_time",
            "description": "Tells what time it is.",
            "parameters": {"type": "object", "properties": {}},
        },
    }
]


def shortened(completion: Completion) -> Completion:
    """Return a feature's own question, to be answered alike each time and in few tokens."""
    sampling = replace(completion.sampling, max_output_tokens=ANSWER_TOKENS, temperature=0)
    return replace(completion, sampling=sampling)


def more_tokens(one: CompletionChunk, other: CompletionChunk) -> int | None:
    """Return how many tokens more the prompt of `one` had; None where they are not counted."""
    counts = [chunk.usage.input_tokens if chunk.usage else None for chunk in (one, other)]
    return None if counts[0] is None or counts[1] is None else counts[0] - counts[1]


def word_within(text: str) -> str | None:
    """Return a word from the middle of `text` that does not stand before it; None if there is none.

    The same question will be answered with the same words, up to this one or past it.
    """
    words = text.split()
    middle = len(words) // 2
    return next((word for word in words[middle:] if words.index(word) >= max(middle, 1)), None)
