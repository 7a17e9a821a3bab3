"""What all of our own commands have in common."""

import argparse
import shlex

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandParser

from tests.command_lines import OWN_APPS, own_commands

OWN = own_commands()


def command_named(name: str) -> BaseCommand:
    return load_command_class(get_commands()[name], name)


def parser_of(name: str) -> CommandParser:
    return command_named(name).create_parser("manage.py", name)


def helps_of(name: str) -> dict[str, str]:
    """Return what `--help` says of a command, and of each of its actions."""
    actions = parser_of(name)._get_positional_actions()
    found = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    parsers = {key: parser for action in found for key, parser in action.choices.items()}
    return {name: command_named(name).help} | {
        f"{name} {key}": parser.description or "" for key, parser in parsers.items()
    }


def examples_in(text: str) -> list[str]:
    _, _, examples = text.replace("Examples: ", "Example: ").partition("Example: ")
    return [example.strip() for example in examples.split(";") if example.strip()]


def test_every_app_is_looked_through() -> None:
    assert {app.label for app in apps.get_app_configs()} >= set(OWN_APPS)
    assert {"doctor", "config", "evaluate", "search_docs", "list_prompts"} <= set(OWN)


@pytest.mark.parametrize("name", OWN)
def test_help_says_what_it_does_with_examples_that_work(name: str) -> None:
    for called, text in helps_of(name).items():
        examples = examples_in(text)

        assert examples, called
        assert all(f"{example} ".startswith(f"{called} ") for example in examples)
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
