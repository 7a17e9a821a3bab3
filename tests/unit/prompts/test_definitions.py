"""The definitions that are shipped, against the numbers and layouts of the wire."""

import timeit
from collections.abc import Callable
from typing import Any

import pytest

from feature_config.catalogue import WIRE_PROMPTS
from prompts.loader import LoadedPrompts
from prompts.registry import PromptRegistry, variants_for
from prompts.render import render
from prompts.samples import SAMPLES
from selfhosted_models.families import WIRE_NAMES, ModelFamily, family_of_wire_name
from selfhosted_models.serving_formats.base import Completion

PREFIX = "def area(w, h):\n    return "
SUFFIX = "\n\nprint(area(2, 3))\n"
CODE = {"prefix": PREFIX, "suffix": SUFFIX, "file_name": "geo/area.py", "language": "python"}
TALK = [{"role": "user", "content": "What is a runner?"}]

MISTRAL_STOP = ("[INST]", "[/INST]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]")
CODEGEMMA_STOP = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_separator|>")
TAGS_STOP = ("[INST]", "[/INST]", "</PREFIX>", "</SUFFIX>")
OWN_VARIANTS = ("codestral", "codellama", "deepseekcoder", "gpt", "claude_3")


def completion_of(
    registry: PromptRegistry, prompt: str, variant: str, /, **inputs: Any
) -> Completion:
    return render(registry.find(prompt, [variant]), inputs).completion


def test_all_definitions_load(shipped: LoadedPrompts) -> None:
    assert [str(problem) for problem in shipped.problems] == []


def test_all_definitions_render(registry: PromptRegistry) -> None:
    for definition in registry:
        rendered = render(definition, SAMPLES)

        asked = rendered.completion
        assert (asked.text is None) == bool(asked.messages), definition
        assert "None" not in (asked.text or str(asked.messages)), definition
        assert rendered.cut_inputs == (), definition


@pytest.mark.parametrize(
    "prompt", ["code_completions", "code_generations", "model_configuration_check"]
)
def test_every_family_and_every_wire_name_has_the_prompt(
    registry: PromptRegistry, prompt: str
) -> None:
    for family in ModelFamily:
        assert registry.find(prompt, variants_for(family, None)).variant == family
    for wire_name in WIRE_NAMES:
        family_or_none = family_of_wire_name(wire_name)
        assert family_or_none is not None
        registry.find(prompt, variants_for(family_or_none, wire_name))
    assert set(OWN_VARIANTS) <= set(registry.variants(prompt))


def test_every_family_has_chat(registry: PromptRegistry) -> None:
    assert set(registry.variants("duo_chat")) == set(ModelFamily)


def test_wire_prompts_name_the_folders(registry: PromptRegistry) -> None:
    for prompt_id in (
        "code_suggestions/completions",
        "code_suggestions/generations",
        "model_configuration/check",
    ):
        assert registry.has(WIRE_PROMPTS[prompt_id].prompt)


@pytest.mark.parametrize("variant", ["codegemma-7b-it", "codegemma-2b"])
def test_codegemma_completion_is_a_text_to_fill(registry: PromptRegistry, variant: str) -> None:
    asked = completion_of(registry, "code_completions", variant, **CODE)

    assert asked.text == f"<|fim_prefix|>{PREFIX}<|fim_suffix|>{SUFFIX}<|fim_middle|>"
    assert registry.find("code_completions", [variant]).title == "Codegemma Code Completions"


def test_codellama_completion_has_spaces_around_its_marks(registry: PromptRegistry) -> None:
    asked = completion_of(registry, "code_completions", "codellama", **CODE)

    assert asked.text == f"<PRE> {PREFIX} <SUF> {SUFFIX} <MID>"


def test_deepseekcoder_completion_has_fullwidth_marks(registry: PromptRegistry) -> None:
    asked = completion_of(registry, "code_completions", "deepseekcoder", **CODE)

    begin, hole, end = (f"<\uff5cfim\u2581{name}\uff5c>" for name in ("begin", "hole", "end"))
    assert asked.text == f"{begin}{PREFIX}{hole}{SUFFIX}{end}"


@pytest.mark.parametrize(
    "variant", ["mistral-7b", "mixtral-8x7b-instruct", "mixtral-8x22b", "codestral"]
)
def test_mistral_completion_has_the_suffix_first(registry: PromptRegistry, variant: str) -> None:
    system, user = completion_of(registry, "code_completions", variant, **CODE).messages

    assert (system.role, user.role) == ("system", "user")
    assert user.content == f"<s>[SUFFIX]{SUFFIX}[PREFIX]{PREFIX}"


@pytest.mark.parametrize("variant", ["gpt", "general"])
def test_tagged_completion_has_each_part_on_lines_of_its_own(
    registry: PromptRegistry, variant: str
) -> None:
    system, user = completion_of(registry, "code_completions", variant, **CODE).messages

    assert (system.role, user.role) == ("system", "user")
    assert user.content == (
        f"<PREFIX>\n{PREFIX}\n</PREFIX>\n<cursor />\n<SUFFIX>\n{SUFFIX}\n</SUFFIX>"
    )


def test_claude_completion_needs_no_input_and_shows_all(registry: PromptRegistry) -> None:
    system, user = completion_of(registry, "code_completions", "claude_3", **CODE).messages

    completion_of(registry, "code_completions", "claude_3")
    assert (system.role, user.role) == ("system", "user")
    assert all(text in user.content for text in CODE.values())


def test_repository_context_goes_before_the_prefix(registry: PromptRegistry) -> None:
    for variant in registry.variants("code_completions"):
        asked = completion_of(registry, "code_completions", variant, **CODE, context="PI = 3")

        assert f"PI = 3\n{PREFIX}" in (asked.text or asked.messages[-1].content), variant


@pytest.mark.parametrize(
    ("variant", "temperature", "max_output_tokens", "stop"),
    [
        ("codegemma-7b-it", 0.95, 128, CODEGEMMA_STOP),
        ("codegemma-2b", 0.95, 128, CODEGEMMA_STOP),
        ("codellama", 0.95, 128, ("<PRE>", "<SUF>", "<MID>", "<EOT>")),
        ("codestral", 0.32, 64, MISTRAL_STOP),
        ("mistral-7b", 0.0, 128, MISTRAL_STOP),
        ("mixtral-8x7b-instruct", 0.0, 128, MISTRAL_STOP),
        ("mixtral-8x22b", 0.0, 128, MISTRAL_STOP),
        ("deepseekcoder", 0.0, 128, ()),
        ("gpt", 0.0, 128, TAGS_STOP),
        ("general", 0.0, 128, TAGS_STOP),
        ("claude_3", 0.0, 128, ()),
    ],
)
def test_completion_parameters_are_those_of_the_wire(
    registry: PromptRegistry,
    variant: str,
    temperature: float,
    max_output_tokens: int,
    stop: tuple[str, ...],
) -> None:
    sampling = registry.find("code_completions", [variant]).sampling

    assert (sampling.temperature, sampling.max_output_tokens) == (temperature, max_output_tokens)
    assert sampling.stop == stop


@pytest.mark.parametrize(
    ("variant", "temperature", "max_output_tokens"),
    [
        ("mistral-7b", 0.95, 512),
        ("mixtral-8x7b-instruct", 0.95, 512),
        ("mixtral-8x22b", 0.95, 512),
        ("codestral", 0.3, 512),
        ("codegemma-7b-it", 0.95, 512),
        ("codellama", 0.95, 512),
        ("deepseekcoder", 0.95, 512),
        ("gpt", 1.0, 512),
        ("claude_3", 0.2, 2048),
    ],
)
def test_generation_is_system_and_user_with_the_parameters_of_the_wire(
    registry: PromptRegistry, variant: str, temperature: float, max_output_tokens: int
) -> None:
    asked = completion_of(registry, "code_generations", variant, **SAMPLES)

    assert [message.role for message in asked.messages] == ["system", "user"]
    assert asked.sampling.temperature == temperature
    assert asked.sampling.max_output_tokens == max_output_tokens
    assert asked.sampling.stop == ()


def test_generation_shows_instruction_and_prefix_last(registry: PromptRegistry) -> None:
    for variant in registry.variants("code_generations"):
        asked = completion_of(registry, "code_generations", variant, **SAMPLES)

        last = asked.text or asked.messages[-1].content
        assert "write fib" in last, variant
        assert PREFIX in last, variant


def test_generation_without_an_instruction_asks_for_what_comes_next(
    registry: PromptRegistry,
) -> None:
    for variant in registry.variants("code_generations"):
        asked = completion_of(registry, "code_generations", variant, prefix="a", instruction="")

        last = asked.text or asked.messages[-1].content
        assert "Write the code that comes next." in last, variant


def test_deepseekcoder_generation_ends_with_a_response_line(registry: PromptRegistry) -> None:
    asked = completion_of(registry, "code_generations", "deepseekcoder", **SAMPLES)

    assert asked.messages[-1].content.endswith("\n### Response:")


@pytest.mark.parametrize(("language", "mark"), [("Python", "#"), ("go", "//"), ("", "//")])
def test_codegemma_2b_generation_continues_after_a_comment(
    registry: PromptRegistry, language: str, mark: str
) -> None:
    inputs = {"prefix": "x = 1\n", "instruction": "add\none", "language": language}

    asked = completion_of(registry, "code_generations", "codegemma-2b", **inputs, file_name="f")

    lines = f"{mark} f\n{mark} add\n{mark} one\nx = 1\n"
    assert asked.text == f"<|fim_prefix|>{lines}<|fim_suffix|><|fim_middle|>"
    assert asked.sampling.stop == CODEGEMMA_STOP


def test_codegemma_2b_chat_is_a_labelled_text(registry: PromptRegistry) -> None:
    talk = [
        *TALK,
        {"role": "assistant", "content": "A worker."},
        {"role": "user", "content": "Why?"},
    ]

    asked = completion_of(registry, "duo_chat", "codegemma-2b", messages=talk)

    text = asked.text or ""
    assert text.endswith(
        "User: What is a runner?\n\nAssistant: A worker.\n\nUser: Why?\n\nAssistant:"
    )
    assert "\nUser:" in asked.sampling.stop


def test_chat_is_asked_with_a_low_temperature(registry: PromptRegistry) -> None:
    for variant in registry.variants("duo_chat"):
        sampling = registry.find("duo_chat", [variant]).sampling

        assert (sampling.temperature, sampling.max_output_tokens) == (0.1, 2048), variant


def test_connection_check_asks_for_little(registry: PromptRegistry) -> None:
    for variant in registry.variants("model_configuration_check"):
        asked = completion_of(registry, "model_configuration_check", variant)

        roles = [message.role for message in asked.messages]
        assert roles == ([] if variant == "codegemma-2b" else ["system", "user"])
        assert (asked.sampling.temperature, asked.sampling.max_output_tokens) == (0.0, 12)


def test_rendering_costs_little_more_than_filling_the_template(registry: PromptRegistry) -> None:
    definition = registry.find("code_completions", ["codegemma-7b-it"])
    inputs = {**CODE, "prefix": "    return w * h\n" * 330, "suffix": "x = 1\n" * 60, "context": ""}
    fill = definition.text
    assert fill is not None

    filling_s = fastest_s(lambda: fill(inputs))
    rendering_s = fastest_s(lambda: render(definition, inputs))

    assert rendering_s < filling_s * 8


def fastest_s(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=10, repeat=50))
