"""What all of our own commands have in common."""

import shlex

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandParser

OWN_APPS = ("selfhosted_models", "feature_config", "prompts", "docsearch", "gateway")
OWN = sorted(name for name, app in get_commands().items() if app in OWN_APPS)


def command_named(name: str) -> BaseCommand:
    return load_command_class(get_commands()[name], name)


def parser_of(name: str) -> CommandParser:
    return command_named(name).create_parser("manage.py", name)


def examples_of(name: str) -> list[str]:
    _, _, text = command_named(name).help.replace("Examples: ", "Example: ").partition("Example: ")
    return [example.strip() for example in text.split(";") if example.strip()]


def test_every_app_is_looked_through() -> None:
    assert {app.label for app in apps.get_app_configs()} >= set(OWN_APPS)
    assert {"doctor", "config", "evaluate", "search_docs", "list_prompts"} <= set(OWN)


@pytest.mark.parametrize("name", OWN)
def test_help_says_what_it_does_with_examples_that_work(name: str) -> None:
    examples = examples_of(name)

    assert examples
    assert all(example.split()[0] == name for example in examples)
    for example in examples:
        words = shlex.split(example.replace("<hash printed before>", "a" * 64))
        words = words[1 : words.index(">")] if ">" in words else words[1:]
        words = words[: words.index("<")] if "<" in words else words
        parser_of(name).parse_args(words)  # exits, and so fails, on one that is wrong


@pytest.mark.parametrize("name", OWN)
def test_every_argument_is_explained(name: str) -> None:
    own = [
        action
        for action in parser_of(name)._actions
        if action.dest not in {"action"} and not action.help
    ]

    assert not own


@pytest.mark.parametrize("name", OWN)
def test_argument_that_is_not_known_is_misuse(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command_named(name).run_from_argv(["manage.py", name, "--no-such-option"])

    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
