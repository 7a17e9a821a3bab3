"""From text to a configuration document, with a line and a remedy for everything that is wrong.

Only the shape is judged here. What the values may be is said by the models' own rules, when the
document is planned or applied.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails, PydanticCustomError

from feature_config.catalogue import Feature
from gateway.configuration.document import (
    INACTIVE,
    STRICT,
    UNASSIGNED,
    VERSION,
    Choice,
    DeploymentEntry,
    Document,
    KeyReference,
    Timeouts,
    line_of,
)
from gateway.configuration.errors import DocumentInvalid, Problem, Trail

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 8
MAX_VALUES = 50_000
KEY_FORMS = "{env: NAME} or {file: PATH}"

#: The C parser where PyYAML was built with it; the same results.
_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_document(source: bytes) -> Document:
    """Read a configuration file.

    Raises:
        DocumentInvalid: Its shape is wrong; every problem found is told with its line.
    """
    data, lines = _read_yaml(source)
    return document_of(data, lines)


def document_of(data: Any, lines: Mapping[Trail, int] | None = None) -> Document:
    """Read a document from JSON data, such as a revision stores.

    Raises:
        DocumentInvalid: Its shape is wrong.
    """
    lines = lines or {}
    try:
        written = _WRITTEN.validate_json(json.dumps(_without_nulls(data), default=str))
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise DocumentInvalid(_problem_of(detail, lines) for detail in details) from error
    features = {
        feature: replace(choice.answered_by, prompt_version=choice.prompt_version)
        for feature, choice in written.features.items()
    }
    document = Document(written.deployments, features, lines)
    if problems := [*_names_given_twice(document), *_keys_of_no_one_source(document)]:
        raise DocumentInvalid(problems)
    return document


def suggest(word: object, known: Collection[str]) -> str:
    """Return the end of a message: what was probably meant, and what there is."""
    close = get_close_matches(str(word), known, n=1)
    meant = f" Did you mean '{close[0]}'?" if close else ""
    return f"{meant} There is: {', '.join(known) or 'none yet'}."


# --- The shape ------------------------------------------------------------------------------------


def _choice(value: Any) -> Any:
    if value == INACTIVE:
        return Choice(is_inactive=True)
    if value == UNASSIGNED:
        return Choice()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PydanticCustomError(
            "choice",
            f"give the name of a deployment, a list of names in order, '{INACTIVE}' or "
            f"'{UNASSIGNED}'; a name that is a number stands in quotes",
        )
    return Choice(tuple(names))


def _whole_choice(value: Any) -> Any:
    """Return the short form of a choice in its long form."""
    return value if isinstance(value, dict) else {"answered_by": value}


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class _WholeChoice:
    """A choice as it is written where there is more to say than what answers."""

    answered_by: Annotated[Choice, BeforeValidator(_choice)] = Choice()
    prompt_version: str = ""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """The document as it is written."""

    version: Literal[1]
    deployments: tuple[DeploymentEntry, ...] = ()
    features: dict[Feature, Annotated[_WholeChoice, BeforeValidator(_whole_choice)]] = field(
        default_factory=dict
    )


_WRITTEN = TypeAdapter(_Written)
_KEYS_OF: Mapping[str, list[str]] = {
    name: [item.name for item in fields(part)]
    for name, part in (
        ("", _Written),
        ("deployments", DeploymentEntry),
        ("timeouts", Timeouts),
        ("api_key", KeyReference),
        *((feature.value, _WholeChoice) for feature in Feature),
    )
}
_MESSAGES = {
    "missing": "is missing",
    "string_type": "must be text: put it in quotes",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "dataclass_type": "must be a mapping of keys to values",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "bool_type": "must be true or false",
    "literal_error": f"must be {VERSION}, the only version there is",
}


def _problem_of(detail: ErrorDetails, lines: Mapping[Trail, int]) -> Problem:
    trail = tuple(step for step in detail["loc"] if step != "[key]")
    kind = detail["type"]
    if trail[-1:] == ("answered_by",) and trail not in lines:
        trail = trail[:-1]  # the short form
    if kind == "unexpected_keyword_argument":
        parents = [step for step in trail[:-1] if isinstance(step, str)]
        known = _KEYS_OF[parents[-1] if parents else ""]
        message = f"unknown key.{suggest(trail[-1], known)}"
    elif kind == "enum":
        message = f"there is no such feature.{suggest(detail['input'], list(Feature))}"
    elif trail[-1:] == ("api_key",):
        message = "an API key never stands in the document: refer to it by " + KEY_FORMS
    else:
        message = _MESSAGES.get(kind, detail["msg"])
    return Problem(message, trail, line_of(lines, trail))


def _names_given_twice(document: Document) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for position, entry in enumerate(document.deployments):
        if entry.name in seen:
            yield document.problem(
                "another deployment of the document has this name: each has one of its own",
                *("deployments", position, "name"),
            )
        seen[entry.name] = position


def _keys_of_no_one_source(document: Document) -> Iterator[Problem]:
    for position, entry in enumerate(document.deployments):
        key = entry.api_key
        if key and (key.env and key.file or not (key.env or key.file or key.stored)):
            yield document.problem("give one of " + KEY_FORMS, "deployments", position, "api_key")


def _without_nulls(data: Any) -> Any:
    """Return the data without keys that have no value: `features:` alone says nothing."""
    if isinstance(data, dict):
        return {key: _without_nulls(value) for key, value in data.items() if value is not None}
    if isinstance(data, list):
        return [_without_nulls(item) for item in data]
    return data


# --- The text -------------------------------------------------------------------------------------


def _read_yaml(source: bytes) -> tuple[Any, dict[Trail, int]]:
    if len(source) > MAX_BYTES:
        raise DocumentInvalid([Problem(f"has more than {MAX_BYTES:,} bytes", line=1)])
    try:
        text = source.decode("utf-8-sig")
        _check_structure(text)
        loader = _YamlLoader(text)
        node = loader.get_single_node()
        lines: dict[Trail, int] = {(): 1}
        return (_data_of(node, loader, (), lines) if node else {}), lines
    except UnicodeDecodeError as error:
        line = source[: error.start].count(b"\n") + 1
        raise DocumentInvalid([Problem("is not UTF-8 text", line=line)]) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "holds a character YAML does not allow"
        message = f"is not valid YAML: {problem}"
        raise DocumentInvalid([Problem(message, line=mark.line + 1 if mark else 1)]) from error


def _check_structure(text: str) -> None:
    """Refuse what a few bytes can make large, before anything is built of it."""
    depth = values = 0
    for event in yaml.parse(text, Loader=_YamlLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise DocumentInvalid(
                [Problem("anchors and aliases are not read: write it out", line=line)]
            )
        if getattr(event, "tag", None):
            raise DocumentInvalid([Problem("tags are not read: leave it out", line=line)])
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        values += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH:
            raise DocumentInvalid([Problem(f"nested deeper than {MAX_DEPTH} levels", line=line)])
        if values > MAX_VALUES:
            raise DocumentInvalid([Problem(f"holds more than {MAX_VALUES:,} values", line=line)])


def _data_of(node: yaml.Node, loader: Any, trail: Trail, lines: dict[Trail, int]) -> Any:
    """Build plain data from a YAML node, noting the line of everything below it."""
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise DocumentInvalid([Problem("a key must be a word", trail, line)])
            if key in mapping:
                raise DocumentInvalid([Problem(f"the key '{key}' is there twice", trail, line)])
            lines[*trail, key] = line
            mapping[key] = _data_of(value_node, loader, (*trail, key), lines)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        items = []
        for position, item in enumerate(node.value):
            lines[*trail, position] = item.start_mark.line + 1
            items.append(_data_of(item, loader, (*trail, position), lines))
        return items
    try:
        return loader.construct_object(node)
    except ValueError as error:  # a date or a number that is none
        line = node.start_mark.line + 1
        raise DocumentInvalid([Problem("put this value in quotes", trail, line)]) from error
