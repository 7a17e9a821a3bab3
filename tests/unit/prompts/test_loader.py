import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from prompts.loader import load_definitions
from prompts.render import render

WriteFiles = Callable[[Mapping[str, str]], Path]

FILE = "duo_chat/general/1.0.0.yml"
HEAD = "title: T\nparameters: {max_output_tokens: 8}\n"
JSON = HEAD + "text: hi\noutput: json\nanswer:\n"


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("title: T\ntext: [}\n", 2, "not valid YAML"),
        ("", 1, "must be a mapping"),
        ("- a list", 1, "must be a mapping"),
        ("title: T\ntext: hi\n", 1, "'parameters' is missing"),
        (HEAD, 1, "either 'messages' or 'text'"),
        (HEAD + "text: hi\nmessages: []\n", 1, "either 'messages' or 'text'"),
        (HEAD + "text: hi\ncolour: red\n", 4, "colour: unknown key"),
        (HEAD + "text: hi\ntitle: again\n", 4, "names the key 'title' twice"),
        (HEAD + "text: 7\n", 3, "text: must be text"),
        (HEAD + "text: hi\ninputs:\n  a: {type: number}\n", 5, "inputs.a.type: must be one of"),
        (HEAD + "text: hi\ninputs:\n  a: {max_chars: 0}\n", 5, "whole number above 0"),
        (HEAD + "text: hi\ninputs:\n  a: {max_items: 3}\n", 5, "of type string has no items"),
        (HEAD + "text: hi\ninputs:\n  a: {default: [x]}\n", 5, "must be of type string"),
        (HEAD + "text: hi\ninputs:\n  a: {required: true, default: x}\n", 5, "needs no default"),
        (HEAD + "text: hi\ninputs:\n  a: {required: maybe}\n", 5, "must be true or false"),
        (HEAD + "text: hi\ninputs:\n  a-b: {}\n", 5, "letters, digits and underscores"),
        (HEAD + "text: hi\ninputs: []\n", 4, "must be a mapping"),
        (HEAD + "text: |\n  one\n  {{ lost }}\n", 5, "uses 'lost', which is not an input"),
        (HEAD + "text: |\n  one\n  {% if %}\n", 5, "is not a template"),
        (HEAD + "text: |\n  one\n  {{ 'x' | frobnicate }}\n", 5, "is not a template"),
        (HEAD + "text: '{% include \"no.jinja\" %}'\n", 3, "'no.jinja', which does not exist"),
        (HEAD + 'text: \'{% include "a" ~ "b" %}\'\n', 3, "may only include partials"),
        (HEAD + "text: '{% import \"a.jinja\" as a %}'\n", 3, "may only include partials"),
        (HEAD + "messages:\n  - {role: boss, content: x}\n", 4, "must be one of system, user"),
        (HEAD + "messages:\n  - {role: user}\n", 4, "either 'template' or 'content'"),
        (HEAD + "messages:\n  - {role: user, template: no.jinja}\n", 4, "does not exist"),
        (HEAD + "messages:\n  - {from: talk}\n", 4, "an input of type messages"),
        (HEAD + "messages: hi\n", 3, "must be a list"),
        (HEAD + "text: hi\nfill_in_middle: {prefix: a}\n", 4, "the key 'suffix' is missing"),
        (HEAD + "text: hi\nfill_in_middle: {prefix: 7, suffix: b}\n", 4, "must be text"),
        (HEAD + "text: hi\ninputs:\n  a: {type: integer}\n", 5, "needs a default"),
        (HEAD + "text: hi\ninputs:\n  a: {type: integer, max_chars: 3}\n", 5, "no characters"),
        (HEAD + "text: hi\ninputs:\n  a: {type: integer, default: 9, max_value: 8}\n", 5, "1 to 8"),
        (HEAD + "text: hi\ninputs:\n  a: {max_value: 8}\n", 5, "only an integer"),
        (HEAD + "text: hi\noutput: json\n", 1, "'answer' is missing"),
        (HEAD + "text: hi\nanswer: {schema: {}}\n", 4, "only an output of json has one"),
        (JSON + "  tag: t\n", 6, "'schema' is missing"),
        (JSON + "  schema: {type: poem}\n", 6, "answer.schema.type: is not a JSON Schema"),
        (JSON + "  schema: {$ref: 'http://127.0.0.1:9/'}\n", 6, "references are not followed"),
        (JSON + "  schema: {}\n  rule: best_guess\n", 7, "must be one of known_reviewers, "),
        (JSON + "  schema: {}\n  begun_with: kind\n", 7, "a key that the schema requires"),
        (HEAD + "text: hi\noutput: poem\n", 4, "must be one of text, code, json, react"),
        (HEAD + "text: hi\nbudget_tokens: soon\n", 4, "must be"),
        (HEAD + "text: hi\ncontrol_tokens: ['a b']\n", 4, "no white space"),
        (HEAD + "text: hi\ncontrol_tokens: ['a']\n", 4, "two characters or more"),
        (HEAD + "text: hi\ntruncation:\n  - {input: a, keep: end}\n", 5, "'a' is not an input"),
        (HEAD + "text: hi\nextends: 1.0.0\n", 4, "there is no duo_chat/base/1.0.0.yml"),
        (
            "title: T\ntext: hi\nparameters:\n  temperature: 3\n  max_output_tokens: 1\n",
            4,
            "0 to 2",
        ),
        (
            "title: T\ntext: hi\nparameters:\n  temperature: 1\n",
            4,
            "'max_output_tokens' is missing",
        ),
    ],
)
def test_problem_names_file_and_line(
    write_files: WriteFiles, source: str, line: int, message: str
) -> None:
    root = write_files({FILE: source})

    (problem,) = load_definitions(root).problems

    assert (problem.path, problem.line) == (root / FILE, line)
    assert message in problem.message
    assert str(problem).startswith(f"{root / FILE}:{line}: ")


@pytest.mark.parametrize(
    ("kind", "keep", "message"),
    [
        ("string", "newest", "can keep start or end"),
        ("messages", "end", "can keep newest"),
        ("object", "start", "cannot be cut"),
    ],
)
def test_input_that_cannot_be_cut_so_is_a_problem(
    write_files: WriteFiles, kind: str, keep: str, message: str
) -> None:
    cut = f"truncation: [{{input: a, keep: {keep}}}]\n"
    root = write_files({FILE: f"{HEAD}text: hi\ninputs: {{a: {{type: {kind}}}}}\n{cut}"})

    (problem,) = load_definitions(root).problems

    assert problem.line == 5
    assert message in problem.message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("duo_chat/general/1.0.yml", "'1.0' must be a version"),
        ("duo_chat/general/01.0.0.yml", "must be a version"),
        ("duo_chat/general/1.0.0-nightly.yml", "must be a version"),
        ("duo_chat/starling/1.0.0.yml", "neither a model family nor a wire name"),
        ("Duo Chat/general/1.0.0.yml", "small letters"),
        ("duo_chat/1.0.0.yml", "must be at <prompt>/<variant>/<version>.yml"),
        ("duo_chat/general/1.0.0.yaml", "neither .yml nor .jinja"),
    ],
)
def test_misplaced_file_is_a_problem(
    write_files: WriteFiles, small: str, name: str, message: str
) -> None:
    root = write_files({name: small})

    loaded = load_definitions(root)

    assert [(each.path, each.line) for each in loaded.problems] == [(root / name, 1)]
    assert message in loaded.problems[0].message
    assert len(loaded.registry) == 0


@pytest.mark.parametrize("broken", ["{{ lost }}", "{% if %}", "{{ 'x' | frobnicate }}"])
def test_problem_inside_a_partial_names_the_partial_once(
    write_files: WriteFiles, broken: str
) -> None:
    source = HEAD + "text: '{% include \"part.jinja\" %}'\n"
    files = {FILE: source, "duo_chat/gpt/1.0.0.yml": source, "part.jinja": f"fine\n{broken}\n"}
    root = write_files(files)

    loaded = load_definitions(root)

    assert [(each.path, each.line) for each in loaded.problems] == [(root / "part.jinja", 2)]
    assert len(loaded.registry) == 0


def test_problem_in_an_unused_partial_is_found(write_files: WriteFiles) -> None:
    root = write_files({"part.jinja": "fine\n{% endif %}\n"})

    (problem,) = load_definitions(root).problems

    assert (problem.path, problem.line) == (root / "part.jinja", 2)


def test_partials_that_include_each_other_are_a_problem(write_files: WriteFiles) -> None:
    files = {"a.jinja": '{% include "b.jinja" %}', "b.jinja": '\n{% include "a.jinja" %}'}
    root = write_files({FILE: HEAD + "text: '{% include \"a.jinja\" %}'\n", **files})

    (problem,) = load_definitions(root).problems

    assert (problem.path, problem.line) == (root / "b.jinja", 2)


def test_problem_from_a_base_names_the_base_once(write_files: WriteFiles) -> None:
    base = "parameters: {max_output_tokens: 8}\ntext: hi\ncolour: red\n"
    variant = "extends: 1.0.0\ntitle: T\n"
    files = {"duo_chat/base/1.0.0.yml": base, FILE: variant, "duo_chat/gpt/1.0.0.yml": variant}
    root = write_files(files)

    (problem,) = load_definitions(root).problems

    assert (problem.path, problem.line) == (root / "duo_chat/base/1.0.0.yml", 3)


def test_file_that_is_not_utf8_is_a_problem(write_files: WriteFiles) -> None:
    root = write_files({FILE: ""})
    (root / FILE).write_bytes(b"title: \xff\n")

    (problem,) = load_definitions(root).problems

    assert "cannot be read" in problem.message


def test_missing_folder_is_a_problem(tmp_path: Path) -> None:
    (problem,) = load_definitions(tmp_path / "nowhere").problems

    assert problem.path == tmp_path / "nowhere"


def test_unknown_variant_among_the_control_tokens_is_a_problem(write_files: WriteFiles) -> None:
    root = write_files({"control_tokens.yml": "general: [<eos>]\nstarling: [<x>]\n"})

    (problem,) = load_definitions(root).problems

    assert (problem.path, problem.line) == (root / "control_tokens.yml", 2)


def test_broken_definition_leaves_the_others_working(write_files: WriteFiles, small: str) -> None:
    root = write_files({FILE: "title: [", "duo_chat/gpt/1.0.0.yml": small})

    loaded = load_definitions(root)

    assert loaded.registry.variants("duo_chat") == ("gpt",)
    assert len(loaded.problems) == 1


def test_extending_merges_mappings_replaces_the_rest_and_null_takes_away(
    write_files: WriteFiles,
) -> None:
    base = """
        inputs: {name: {required: true}, tone: {default: kind}}
        messages: [{role: user, content: "{{ name }}"}]
        parameters: {max_output_tokens: 8, temperature: 0.5, stop: [a, b]}
        budget_tokens: 5000
    """
    variant = """
        extends: 1.0.0
        title: T
        inputs: {name: {max_chars: 9}}
        messages: null
        text: "{{ tone }} {{ name }}"
        parameters: {temperature: null, stop: [c]}
    """
    root = write_files({"duo_chat/base/1.0.0.yml": base, FILE: variant})

    definition = load_definitions(root).registry.find("duo_chat", ["general"])

    assert definition.inputs["name"].is_required
    assert definition.inputs["name"].max_chars == 9
    assert definition.sampling.max_output_tokens == 8
    assert definition.sampling.temperature is None
    assert definition.sampling.stop == ("c",)
    assert definition.budget_tokens == 5000
    assert render(definition, {"name": "Ada"}).completion.text == "kind Ada"


def test_rendering_needs_no_files_after_loading(write_files: WriteFiles) -> None:
    source = HEAD + "inputs: {name: {}}\ntext: 'Hello {% include \"name.jinja\" %}'\n"
    root = write_files({FILE: source, "name.jinja": "{% if name %}{{ name }}{% endif %}\n"})
    definition = load_definitions(root).registry.find("duo_chat", ["general"])

    shutil.rmtree(root)

    assert render(definition, {"name": "Ada"}).completion.text == "Hello Ada"


def digest_of(root: Path) -> str:
    return load_definitions(root).registry.find("duo_chat", ["general"]).digest


def test_digest_is_the_same_for_the_same_prompt(write_files: WriteFiles, small: str) -> None:
    first = digest_of(write_files({FILE: small}))
    second = digest_of(
        write_files({FILE: "# said differently\n" + small.replace(" Small", "  Small")})
    )

    assert first == second
    assert len(first) == 16


@pytest.mark.parametrize(
    "change",
    [
        {FILE: HEAD + "budget_tokens: 9\ntext: '{% include \"a.jinja\" %}'\n"},
        {"b.jinja": "other words"},
        {"control_tokens.yml": "general: [<eos>]"},
    ],
)
def test_digest_changes_with_the_prompt(write_files: WriteFiles, change: dict[str, str]) -> None:
    source = HEAD + "text: '{% include \"a.jinja\" %}'\n"
    files = {FILE: source, "a.jinja": '{% include "b.jinja" %}', "b.jinja": "words"}
    before = digest_of(write_files(files))

    after = digest_of(write_files(change))

    assert before != after


def test_digest_ignores_partials_the_prompt_does_not_use(
    write_files: WriteFiles, small: str
) -> None:
    before = digest_of(write_files({FILE: small}))

    after = digest_of(write_files({"unused.jinja": "words"}))

    assert before == after
