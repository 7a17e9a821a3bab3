"""YAML that remembers on which line everything stood, so that every problem can be pointed at."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

#: The way to a value: keys and list positions from the top.
Trail = tuple[str | int, ...]

#: The C parser where PyYAML was built with it; ten times faster, the same results.
_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    path: Path
    line: int

    def later(self, lines: int) -> "Place":
        """Return the place some lines further down."""
        return Place(self.path, self.line + lines)


class DefinitionInvalid(Exception):
    """A file cannot be used; raised and caught while loading, never seen outside."""

    def __init__(self, place: Place, message: str) -> None:
        self.place = place
        self.message = message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Document:
    """A mapping read from YAML, and the place of everything in it."""

    data: Mapping[str, Any]
    places: Mapping[Trail, Place]

    def place_of(self, trail: Trail) -> Place:
        """Return where a value stands, or for an absent one where its parent does."""
        while trail not in self.places:
            trail = trail[:-1]
        return self.places[trail]


def read_source(path: Path) -> str:
    """Return the text of a file.

    Raises:
        DefinitionInvalid: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionInvalid(Place(path, 1), f"cannot be read: {error}") from error


def read_document(path: Path) -> Document:
    """Read one YAML file.

    Raises:
        DefinitionInvalid: It is not YAML, not a mapping, or names a key twice.
    """
    source = read_source(path)
    try:
        loader = _YamlLoader(source)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise DefinitionInvalid(Place(path, 1), "must be a mapping of keys to values")
        places: dict[Trail, Place] = {}
        data = _data_of(node, loader, path, (), places)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "holds a character YAML does not allow"
        raise DefinitionInvalid(Place(path, line), f"is not valid YAML: {problem}") from error
    return Document(data, {**places, (): Place(path, 1)})


def merge_documents(base: Document, over: Document) -> Document:
    """Lay one document over another: mappings are merged, all else replaced, null takes away."""
    return Document(_merge(base.data, over.data), {**base.places, **over.places})


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = _merge(base[key], value)
        else:
            merged[key] = value
    return merged


def _data_of(
    node: yaml.Node, loader: Any, path: Path, trail: Trail, places: dict[Trail, Place]
) -> Any:
    """Build plain data from a YAML node, noting the place of everything below it."""
    # The text of a block scalar (`|`, `>`) starts on the line after its mark.
    is_block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
    places[trail] = Place(path, node.start_mark.line + 1 + is_block)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, place = key_node.value, Place(path, key_node.start_mark.line + 1)
            if not isinstance(key, str):
                raise DefinitionInvalid(place, "a key must be a word")
            if key in mapping:
                raise DefinitionInvalid(place, f"names the key '{key}' twice")
            mapping[key] = _data_of(value_node, loader, path, (*trail, key), places)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [
            _data_of(item, loader, path, (*trail, position), places)
            for position, item in enumerate(node.value)
        ]
    return loader.construct_object(node)
