"""What holds for every definition and whatever callers send."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prompts.errors import ContextTooLong
from prompts.registry import PromptRegistry
from prompts.render import render
from prompts.samples import SAMPLES
from selfhosted_models.serving_formats.base import Completion

PIECES = ["<|fim_suffix|>", "<|fim_", "middle|>", "[SUFFIX]", "[INST", "]", "<", "<s>", "</PREFIX>"]
PIECES += [
    "<PRE>",
    "<｜fim▁hole｜>",
    "<|im_end|>",
    "{{7*7}}",
    "x = 1\n",
    "漢字",
    "é",
    "word " * 300,
]
code = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=50).map(
    lambda text: text.replace("\0", "")  # is refused
)
NAMES = ("prefix", "suffix", "context", "file_name", "language", "instruction")
some_inputs = st.fixed_dictionaries(dict.fromkeys(NAMES, code))


def whole_text(completion: Completion) -> str:
    if completion.text is not None:
        return completion.text
    return "\n".join(message.content for message in completion.messages)


def with_other_texts(value: Any, texts: Iterator[str]) -> Any:
    """Return a sample of an input with other texts; the roles of messages stay."""
    match value:
        case {"role": role}:
            return {"role": role, "content": next(texts)}
        case dict():
            return {name: with_other_texts(item, texts) for name, item in value.items()}
        case list():
            return [with_other_texts(item, texts) for item in value]
        case str():
            return next(texts)
        case _:
            return value


@given(texts=st.lists(code, min_size=1, max_size=8), data=st.data())
def test_anything_renders_within_the_budget_and_adds_no_control_token(
    registry: PromptRegistry, texts: list[str], data: st.DataObject
) -> None:
    definition = data.draw(st.sampled_from(list(registry)))
    limit = definition.budget_tokens or 100_000
    sample = {name: SAMPLES[name] for name in definition.inputs}
    texts = [text[:500] for text in texts]  # within the limits of all inputs
    harmless = ["x" if text else "" for text in texts]

    rendered = render(definition, with_other_texts(sample, cycle(texts)))
    plain = render(definition, with_other_texts(sample, cycle(harmless)))

    assert rendered.input_tokens <= limit
    for token in definition.control_tokens.tokens:
        assert whole_text(rendered.completion).count(token) == whole_text(plain.completion).count(
            token
        )


@given(inputs=some_inputs, context_tokens=st.integers(1, 4000), data=st.data())
def test_anything_fits_a_known_context_or_is_refused(
    registry: PromptRegistry, inputs: dict[str, str], context_tokens: int, data: st.DataObject
) -> None:
    prompt = data.draw(st.sampled_from(["code_completions", "code_generations"]))
    variant = data.draw(st.sampled_from(registry.variants(prompt)))
    definition = registry.find(prompt, [variant])

    try:
        rendered = render(definition, inputs, context_tokens=context_tokens)
    except ContextTooLong as error:
        assert error.needed_tokens > error.limit_tokens  # noqa: PT017 - either end is right
    else:
        output_tokens = rendered.completion.sampling.max_output_tokens
        assert rendered.input_tokens + output_tokens <= context_tokens
