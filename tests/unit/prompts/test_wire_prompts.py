"""Every prompt that GitLab asks for by id, against the tables of the wire contract."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from feature_config.catalogue import WIRE_PROMPTS
from prompts.definition import PromptDefinition
from prompts.registry import PromptRegistry, variants_for
from prompts.render import render
from prompts.samples import SAMPLES
from selfhosted_models.families import WIRE_NAMES, ModelFamily, family_of_wire_name

MISTRAL_FAMILY = ("mistral-7b", "mixtral-8x7b-instruct", "mixtral-8x22b")
CHAT_FAMILIES = tuple(family for family in ModelFamily if family != "codegemma-2b")
READERS = tuple(prompt_id for prompt_id in WIRE_PROMPTS if prompt_id.endswith("_reader"))
OPEN_JSON = '```json\n{\n  "ResourceIdentifierType": "'


class Wire(NamedTuple):
    """What the contract says of one prompt id. Numbers it leaves open are ours."""

    required: str
    optional: str
    temperature: float
    mistral_temperature: float
    max_output_tokens: int


CODE = "input selected_text file_content language_info"
WIRE: dict[str, Wire] = {
    "chat/explain_code": Wire("", CODE, 0.0, 0.0, 2048),
    "chat/fix_code": Wire("", f"{CODE} file_content_reuse libraries language", 0.1, 0.1, 2048),
    "chat/refactor_code": Wire("", f"{CODE} file_content_reuse libraries language", 0.1, 0.0, 2048),
    "chat/write_tests": Wire("", f"{CODE} libraries", 0.1, 0.0, 2048),
    "chat/summarize_comments": Wire("", "notes_content", 0.1, 0.1, 2048),
    "chat/troubleshoot_job": Wire("", "selected_text language_info", 0.1, 0.1, 2048),
    "chat/explain_vulnerability": Wire(
        "", "title identifiers vulnerability_info language_info", 0.1, 0.0, 2048
    ),
    "chat/issue_reader": Wire("", "input suggestions", 0.1, 0.1, 2048),
    "chat/epic_reader": Wire("", "input suggestions", 0.1, 0.1, 2048),
    "chat/merge_request_reader": Wire("", "input suggestions", 0.0, 0.0, 2048),
    "chat/commit_reader": Wire("", "input suggestions", 0.0, 0.0, 2048),
    "chat/build_reader": Wire("", "input suggestions", 0.0, 0.0, 2048),
    "chat/react": Wire("messages", "tools agent_scratchpad unavailable_resources", 0.1, 0.1, 4096),
    "generate_commit_message": Wire("diff", "", 0.0, 0.0, 4096),
    "generate_description": Wire("content template", "", 0.0, 0.0, 4096),
    "summarize_new_merge_request": Wire("extracted_diff", "", 0.0, 0.0, 2000),
    "summarize_review": Wire("draft_notes_content", "", 0.1, 0.1, 2048),
    "resolve_vulnerability": Wire(
        "name vulnerability_description identifiers filename source_code vulnerable_code",
        "",
        *(0.0, 0.0, 4096),
    ),
    "glab_ask_git_command": Wire("prompt", "", 0.1, 0.1, 2048),
    "categorize_question": Wire("question previous_answer", "", 0.0, 0.0, 500),
    "measure_comment_temperature": Wire("content", "", 0.5, 0.5, 1000),
}
#: Not of the contract: ids of features that GitLab has no prompt for.
OURS = {"mr_template_population", "suggested_reviewers", "value_stream_forecasting"}
#: Compared in test_definitions.py, variant by variant.
CODE_AND_CHECK = {
    "code_suggestions/completions",
    "code_suggestions/generations",
    "model_configuration/check",
}


def definitions_of(registry: PromptRegistry, prompt_id: str) -> Iterator[PromptDefinition]:
    prompt = WIRE_PROMPTS[prompt_id].prompt
    return (definition for definition in registry if definition.prompt == prompt)


def test_the_table_has_every_prompt_id() -> None:
    assert set(WIRE) | CODE_AND_CHECK | OURS == set(WIRE_PROMPTS)


@pytest.mark.parametrize("prompt_id", WIRE_PROMPTS)
def test_every_family_has_a_variant_that_renders(registry: PromptRegistry, prompt_id: str) -> None:
    for family in ModelFamily:
        definition = registry.find(WIRE_PROMPTS[prompt_id].prompt, variants_for(family, None))

        completion = render(definition, SAMPLES).completion

        assert definition.variant == family
        assert bool(completion.text) != bool(completion.messages)


@pytest.mark.parametrize("prompt_id", WIRE_PROMPTS)
@pytest.mark.parametrize("wire_name", [*sorted(WIRE_NAMES), "qwen3-coder"])
def test_every_wire_name_has_a_variant_that_renders(
    registry: PromptRegistry, prompt_id: str, wire_name: str
) -> None:
    family = family_of_wire_name(wire_name)
    assert family is not None

    definition = registry.find(WIRE_PROMPTS[prompt_id].prompt, variants_for(family, wire_name))

    assert definition.variant in (wire_name, family)
    render(definition, SAMPLES)


@pytest.mark.parametrize("prompt_id", WIRE)
def test_inputs_are_those_of_the_wire(registry: PromptRegistry, prompt_id: str) -> None:
    expected = WIRE[prompt_id]
    for definition in definitions_of(registry, prompt_id):
        required = {spec.name for spec in definition.inputs.values() if spec.is_required}

        assert required == set(expected.required.split()), definition.variant
        assert set(definition.inputs) - required == set(expected.optional.split())


@pytest.mark.parametrize("prompt_id", WIRE)
def test_numbers_are_those_of_the_wire(registry: PromptRegistry, prompt_id: str) -> None:
    expected = WIRE[prompt_id]
    for definition in definitions_of(registry, prompt_id):
        is_mistral = definition.variant in MISTRAL_FAMILY
        temperature = expected.mistral_temperature if is_mistral else expected.temperature

        assert definition.sampling.temperature == temperature, definition.variant
        assert definition.sampling.max_output_tokens == expected.max_output_tokens


@pytest.mark.parametrize("prompt_id", WIRE)
@pytest.mark.parametrize("family", CHAT_FAMILIES)
def test_chat_models_get_the_roles_of_the_wire(
    registry: PromptRegistry, prompt_id: str, family: str
) -> None:
    definition = registry.find(WIRE_PROMPTS[prompt_id].prompt, [family])

    messages = render(definition, {**SAMPLES, "messages": SAMPLES["messages"][-1:]}).completion
    roles = [message.role for message in messages.messages]

    begins_the_answer = prompt_id in READERS or prompt_id == "chat/react"
    assert roles == ["system", "user", *(["assistant"] if begins_the_answer else [])]
    assert definition.sampling.stop == (("Observation:",) if prompt_id == "chat/react" else ())


@pytest.mark.parametrize("prompt_id", WIRE)
def test_codegemma_2b_gets_a_text_that_ends_where_the_answer_begins(
    registry: PromptRegistry, prompt_id: str
) -> None:
    definition = registry.find(WIRE_PROMPTS[prompt_id].prompt, ["codegemma-2b"])

    completion = render(definition, SAMPLES).completion

    assert completion.messages == ()
    assert (completion.text or "").rstrip().endswith((":", "```json", OPEN_JSON))
    assert "<|file_separator|>" in completion.sampling.stop
    assert len(completion.sampling.stop) <= 4  # more is refused by some servers


@pytest.mark.parametrize("prompt_id", READERS)
def test_readers_begin_the_json_in_the_shape_of_the_family(
    registry: PromptRegistry, prompt_id: str
) -> None:
    for definition in definitions_of(registry, prompt_id):
        completion = render(definition, SAMPLES).completion

        last = completion.text or completion.messages[-1].content
        is_mistral = definition.variant in MISTRAL_FAMILY
        assert last.endswith("Response:\n```json" if is_mistral else OPEN_JSON)
        assert last.count("```json") == 1


@pytest.mark.parametrize(
    ("prompt_id", "types"),
    [
        ("chat/issue_reader", ["current", "iid", "url", "reference"]),
        ("chat/epic_reader", ["current", "iid", "url", "reference"]),
        ("chat/merge_request_reader", ["current", "iid", "url", "reference"]),
        ("chat/commit_reader", ["current", "url", "reference"]),
        ("chat/build_reader", ["current", "id", "url"]),
    ],
)
def test_readers_know_the_types_of_the_wire(
    registry: PromptRegistry, prompt_id: str, types: list[str]
) -> None:
    definition = registry.find(WIRE_PROMPTS[prompt_id].prompt, ["general"])

    system, user, _ = render(definition, SAMPLES).completion.messages

    lines = [line for line in system.content.splitlines() if line.startswith("- ")]
    assert [line[2:].split(":")[0] for line in lines] == types
    assert "What about issue 42?" in user.content
    assert "Write valid JSON." in user.content


@pytest.mark.parametrize(
    "identifiers", [["CWE-89", "CWE-20"], "CWE-89, CWE-20"], ids=["list", "text"]
)
@pytest.mark.parametrize("prompt_id", ["chat/explain_vulnerability", "resolve_vulnerability"])
def test_identifiers_may_be_a_list_or_one_text(
    registry: PromptRegistry, prompt_id: str, identifiers: object
) -> None:
    definition = registry.find(WIRE_PROMPTS[prompt_id].prompt, ["general"])

    completion = render(definition, {**SAMPLES, "identifiers": identifiers}).completion

    assert "Identifiers: CWE-89, CWE-20\n" in completion.messages[-1].content


def test_empty_required_inputs_are_enough(registry: PromptRegistry) -> None:
    for prompt_id, expected in WIRE.items():
        empty: dict[str, object] = dict.fromkeys(expected.required.split(), "")
        if prompt_id == "chat/react":
            empty = {"messages": [{"role": "user", "content": ""}]}
        for definition in definitions_of(registry, prompt_id):
            render(definition, empty)
