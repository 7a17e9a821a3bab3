"""What a shell offers on TAB: commands, their actions and options, and the values of some.

Read from the parsers of the commands themselves; `deploy/completion.bash` asks for it.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands, load_command_class
from django.db import DatabaseError, InterfaceError

from feature_config.catalogue import Feature
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import ModelDeployment


def _deployments() -> list[str]:
    try:
        return [*ModelDeployment.objects.order_by("name").values_list("name", flat=True)]
    except (DatabaseError, InterfaceError, ImproperlyConfigured):  # one types on without names
        return []


#: By the metavar of an argument.
_VALUES: Mapping[str, Callable[[], Sequence[str]]] = MappingProxyType(
    {
        "COMMAND": lambda: [*get_commands()],
        "DEPLOYMENT": _deployments,
        "FAMILY": lambda: [*ModelFamily],
        "FEATURE": lambda: [*Feature],
    }
)


def completions(words: Sequence[str]) -> list[str]:
    """Return what the last of the words may become; nothing where it names a file, say.

    Args:
        words: Of the command line, without manage.py; the last is the one that is being typed.
    """
    *before, begun = words or [""]
    return sorted(word for word in _offered(before, begun) if word.startswith(begun))


def _offered(before: Sequence[str], begun: str) -> Sequence[str]:
    if not before:
        return [*get_commands(), "help"]
    name, *rest = before
    if name == "help":
        return [] if rest else [*get_commands()]
    if name not in get_commands():
        return []
    app = get_commands()[name]
    command = load_command_class(app, name) if isinstance(app, str) else app
    return _offered_by(command.create_parser("manage.py", name), rest, begun)


def _offered_by(parser: argparse.ArgumentParser, words: Sequence[str], begun: str) -> Sequence[str]:
    positions = _positions(parser)
    coming = iter(words)
    for word in coming:
        option = parser._option_string_actions.get(word)
        if option is not None:
            taken = [value for _, value in zip(range(_count(option)), coming, strict=False)]
            if len(taken) < _count(option):
                return _values(option)
        elif not word.startswith("-"):
            action = next(positions, None)
            if isinstance(action, argparse._SubParsersAction):
                chosen = action.choices.get(word)
                return _offered_by(chosen, [*coming], begun) if chosen else []
    if begun.startswith("-"):
        return [text for text in parser._option_string_actions if text.startswith("--")]
    action = next(positions, None)
    return _values(action) if action else []


def _positions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield which argument each word is that belongs to no option."""
    for action in parser._get_positional_actions():
        yield action
        while action.nargs in {"*", "+"}:
            yield action


def _count(option: argparse.Action) -> int:
    """Return how many words follow an option."""
    return option.nargs if isinstance(option.nargs, int) else 1


def _values(action: argparse.Action) -> Sequence[str]:
    if action.choices is not None:
        return [*map(str, action.choices)]
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    values = _VALUES.get(name)
    return values() if values else []
