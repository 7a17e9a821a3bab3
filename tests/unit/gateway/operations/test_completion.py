"""What a shell offers is read from the commands, and from what is stored."""

import pytest

from gateway.operations.completion import completions
from tests.command_lines import own_commands
from tests.factories import make_deployment

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("docto", ["doctor"]),
        ("help docto", ["doctor"]),
        ("doctor --js", ["--json"]),
        ("config pl", ["plan"]),
        ("config plan --ch", ["--check"]),
        ("config plan duo.yml --prune --ch", ["--check"]),
        ("golden_questions ch", ["check"]),
        ("explain duo", ["duo_chat"]),
        ("explain --user jane duo", ["duo_chat"]),
        ("evaluate --feature duo", ["duo_chat"]),
        ("show_prompt duo_chat --family codegemma-2", ["codegemma-2b"]),
        ("create_api_token rails --role ed", ["editor"]),
        ("probe gpu", ["gpu1", "gpu2"]),
        ("probe gpu1 gpu", ["gpu1", "gpu2"]),
        ("evaluate --compare gpu1 gpu2", ["gpu2"]),
        ("config apply ", []),  # a file: the shell's own completion knows them
        ("evaluate --suite ", []),
        ("no_such_command ", []),
        ("config no-such-action ", []),
    ],
)
def test_word_that_is_being_typed_is_completed(typed: str, offered: list[str]) -> None:
    for name in ("gpu1", "gpu2"):
        make_deployment(name=name)

    assert completions(typed.split(" ")) == offered


def test_every_command_of_ours_is_offered_with_its_options() -> None:
    assert set(own_commands()) <= set(completions([""]))
    assert all("--help" in completions([name, "--"]) for name in own_commands())
