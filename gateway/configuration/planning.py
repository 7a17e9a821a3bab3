"""The difference between two configurations: a pure function on documents as data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from feature_config.catalogue import FEATURES, Feature
from gateway.configuration.document import INACTIVE, UNASSIGNED, Data

#: What a key that is left out of an entry means.
_DEFAULTS: Mapping[str, Any] = {"is_active": True}


class Action(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


class Kind(StrEnum):
    DEPLOYMENT = "deployment"
    FEATURE = "feature"


_SIGNS = {Action.ADDED: "+", Action.CHANGED: "~", Action.REMOVED: "-"}


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one deployment or feature.

    Attributes:
        name: The name it has afterwards; that of before if it is removed.
        fields: Old and new value of each field that differs, as the document has them; None is
            absent.
    """

    action: Action
    kind: Kind
    name: str
    fields: Mapping[str, tuple[Any, Any]]

    @property
    def title(self) -> str:
        """The name as people know it."""
        is_known = self.kind is Kind.FEATURE and self.name in list(Feature)
        return FEATURES[Feature(self.name)].title if is_known else self.name

    def to_data(self) -> Data:
        fields = {name: {"old": old, "new": new} for name, (old, new) in self.fields.items()}
        return {"action": self.action, "kind": self.kind, "name": self.name, "fields": fields}

    def __str__(self) -> str:
        """Return the change for people, one line and then one for each field."""
        head = f"{_SIGNS[self.action]} {self.kind} {self.name}"
        if [*self.fields] == ["answered_by"]:
            return f"{head}: {self.describe_fields()[0].partition(': ')[2]}"
        if self.action is Action.REMOVED:
            return head
        return "\n    ".join([head, *self.describe_fields()])

    def describe_fields(self) -> list[str]:
        """Return one line for each field, as in `context_tokens: 8192 -> 16384`."""
        if self.action is Action.ADDED:
            return [f"{name}: {new}" for name, _, new in self.field_words() if name != "name"]
        return [f"{name}: {old} -> {new}" for name, old, new in self.field_words()]

    def field_words(self) -> list[tuple[str, str, str]]:
        """Return name, old and new value of each field, for people."""
        return words_of_fields(self.fields)


def difference(
    before: Data, after: Data, *, renamed: Mapping[str, str] | None = None
) -> tuple[Change, ...]:
    """Return what leads from one document to another: deployments by name, then features.

    Args:
        before: The document there was, as data.
        after: The document there is to be.
        renamed: New names of deployments by their old ones. Without it, a deployment with another
            name is another deployment.
    """
    renamed = renamed or {}
    old = {renamed.get(entry["name"], entry["name"]): entry for entry in before["deployments"]}
    new = {entry["name"]: entry for entry in after["deployments"]}
    names = sorted({*old, *new})
    deployments = (_deployment_change(name, old.get(name), new.get(name)) for name in names)
    changes = [change for change in deployments if change is not None]
    return (*changes, *_feature_changes(before["features"], after["features"], renamed))


def _deployment_change(name: str, old: Data | None, new: Data | None) -> Change | None:
    fields = {key: (None, value) for key, value in (new or {}).items()}
    if old is None:
        return Change(Action.ADDED, Kind.DEPLOYMENT, name, fields)
    if new is None:
        fields = {key: (value, None) for key, value in old.items()}
        return Change(Action.REMOVED, Kind.DEPLOYMENT, name, fields)
    keys = [*new, *(key for key in old if key not in new)]
    pairs = {key: (_value(old, key), _value(new, key)) for key in keys}
    fields = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    return Change(Action.CHANGED, Kind.DEPLOYMENT, name, fields) if fields else None


def _value(entry: Data, key: str) -> Any:
    return entry.get(key, _DEFAULTS.get(key))


def _feature_changes(before: Data, after: Data, renamed: Mapping[str, str]) -> Iterator[Change]:
    for feature in {**before, **after}:
        old, new = (_choice_fields(choices.get(feature)) for choices in (before, after))
        expected = {**old, "answered_by": _renamed(old["answered_by"], renamed)}
        fields = {key: (old[key], new[key]) for key in new if expected[key] != new[key]}
        if fields:
            yield Change(Action.CHANGED, Kind.FEATURE, feature, fields)


def _choice_fields(choice: str | list[str] | Data | None) -> Data:
    """Return the fields of a choice, whichever form it has."""
    whole = choice if isinstance(choice, dict) else {"answered_by": choice or UNASSIGNED}
    return {"answered_by": UNASSIGNED, "prompt_version": None, **whole}


def _renamed(choice: str | list[str], names: Mapping[str, str]) -> str | list[str]:
    if isinstance(choice, list):
        return [names.get(name, name) for name in choice]
    return choice if choice in (INACTIVE, UNASSIGNED) else names.get(choice, choice)


def words_of_fields(fields: Mapping[str, Sequence[Any]]) -> list[tuple[str, str, str]]:
    """Return the fields of a change, or of an audit record, for people."""
    return [(name, _words(old), _words(new)) for name, (old, new) in fields.items()]


def _words(value: Any) -> str:
    """Return a value of a document for people."""
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", then ".join(map(_words, value))
    return str(value)
