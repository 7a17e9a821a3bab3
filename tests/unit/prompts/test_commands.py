import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from feature_config.catalogue import Feature
from prompts.management.commands.show_prompt import Command as ShowPrompt
from selfhosted_models.families import ModelFamily


def said(command: str, *arguments: Any) -> str:
    stdout = StringIO()
    call_command(command, *map(str, arguments), stdout=stdout)
    return stdout.getvalue()


@pytest.fixture
def inputs_file(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        path = tmp_path / "inputs.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


def test_list_is_json_for_machines() -> None:
    rows = json.loads(said("list_prompts", "--json"))

    first = {"feature": "duo_chat", "family": "mistral-7b", "version": "1.0.0"}
    assert rows[0] == {**first, "prompt_id": "duo_chat"}
    assert {row["feature"] for row in rows} == set(Feature)


def test_list_is_a_line_for_each_prompt() -> None:
    lines = said("list_prompts").splitlines()

    assert lines[6].split() == [
        *("code_completions", "mistral-7b", "1.0.0", "code_suggestions/completions")
    ]
    assert len(said("list_prompts", "--all").splitlines()) > len(lines)


@pytest.mark.parametrize("feature", Feature)
def test_every_feature_is_shown_with_samples_for_every_family(feature: Feature) -> None:
    for family in ModelFamily:
        shown = json.loads(said("show_prompt", feature, "--family", family, "--json"))

        assert shown["variant"] == family
        assert shown.get("messages") or shown.get("text")


def test_prompt_is_shown_for_people() -> None:
    told = said("show_prompt", "code_explanation", "--family", "mistral-7b", "--version", "^1.0.0")

    assert "prompt_id: chat/explain_code\nvariant: mistral-7b\nversion: 1.0.0\n" in told
    assert "\n--- system\nYou explain" in told
    assert "\n--- user\n" in told


def test_own_inputs_are_filled_in(inputs_file: Callable[[Any], Path]) -> None:
    path = inputs_file({"extracted_diff": "+ إضافة"})

    told = said("show_prompt", "merge_request_summary", "--family", "general", "--inputs", path)

    assert "+ إضافة" in told


def test_families_are_compared_line_by_line() -> None:
    told = said("show_prompt", "git_suggestions", "--family", "general", "--diff", "codegemma-2b")

    assert told.startswith("--- general 1.0.0\n+++ codegemma-2b 1.0.0\n")
    assert "\n---- system\n+--- text\n" in told


def test_equal_versions_differ_in_nothing() -> None:
    assert said("show_prompt", "duo_chat", "--family", "general", "--diff", "1.0.0") == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["poetry", "--family", "general"], "There is no prompt 'poetry'"),
        (["duo_chat", "--family", "llama"], "There is no family 'llama'. There is: mistral-7b"),
        (["duo_chat", "--family", "general", "--version", "^9.0.0"], "There is: 1.0.0"),
        (["duo_chat", "--family", "general", "--version", "new"], "is not a version constraint"),
        (["duo_chat", "--family", "general", "--diff", "9.9.9"], "There is: 1.0.0"),
        (["duo_chat", "--family", "general", "--context-tokens", "8"], "there is room for"),
        (["duo_chat", "--family", "general", "--inputs", "/nowhere.json"], "cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_misuse_is_told_with_what_to_do(arguments: list[str], told: str) -> None:
    with pytest.raises(CommandError, match=told) as caught:
        said("show_prompt", *arguments)

    assert caught.value.returncode == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{broken", "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        ([1], "must hold an object"),
        ({}, "Missing inputs: extracted_diff"),
        ({"extracted_diff": 1.5, "other": 1}, None),
        ({"extracted_diff": ["x"]}, "Input 'extracted_diff' must be of type string"),
    ],
)
def test_bad_inputs_are_told(
    inputs_file: Callable[[Any], Path], content: Any, told: str | None
) -> None:
    arguments = ["merge_request_summary", "--family", "general", "--inputs", inputs_file(content)]

    if told is None:
        assert said("show_prompt", *arguments)
        return
    with pytest.raises(CommandError, match=told):
        said("show_prompt", *arguments)


def test_version_is_the_prompts_and_not_djangos() -> None:
    parser = ShowPrompt().create_parser("manage.py", "show_prompt")

    assert parser.parse_args(["f", "--family", "g", "--version", "1.0.0"]).version == "1.0.0"
