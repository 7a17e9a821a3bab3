"""The canonical configuration document: what is registered, and what answers each feature.

It is what a file says, what a revision stores, what an export prints and what the version of a
serving snapshot names. Plain values; no secret is ever in it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

from pydantic import ConfigDict, with_config

from feature_config.catalogue import Feature
from gateway.configuration.errors import Problem, Trail

VERSION = 1
DIGEST_CHARS = 32
INACTIVE = "inactive"
UNASSIGNED = "unassigned"

#: The document as JSON has it.
Data = dict[str, Any]

#: How `parsing` reads the classes below: nothing unknown, nothing converted.
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReference:
    """Where an API key is; never the key itself.

    Attributes:
        env: The environment variable that holds it.
        file: The file that holds it.
        stored: The fingerprint of a key that the database holds already. Beside one of the others
            it is what they gave last, and stands in while they cannot be read.
    """

    env: str = ""
    file: str = ""
    stored: str = ""


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds; None is the default of the kind of request."""

    first_token_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentEntry:
    """One deployment; the fields are those of `ModelDeployment`."""

    name: str
    family: str
    serving_format: str
    endpoints: tuple[str, ...]
    model_identifier: str
    api_key: KeyReference | None = None
    context_tokens: int | None = None
    timeouts: Timeouts = Timeouts()
    max_in_flight: int | None = None
    is_active: bool = True

    def to_data(self) -> Data:
        """Return the entry as the document has it: what is at its default is left out."""
        data: Data = _plain(self)
        return data


@dataclass(frozen=True, slots=True)
class Choice:
    """What answers a feature: deployments in order, or nothing.

    Attributes:
        deployments: Their names, first choice first; empty if unassigned or inactive.
        is_inactive: Refused to everyone.
        prompt_version: Constraint on the version of the feature's prompt; "" is none.
    """

    deployments: tuple[str, ...] = ()
    is_inactive: bool = False
    prompt_version: str = ""

    def to_data(self) -> str | list[str] | Data:
        """Return the choice as the document has it: a mapping only where there is more to say."""
        if self.prompt_version:
            return {"answered_by": self.answered_by(), "prompt_version": self.prompt_version}
        return self.answered_by()

    def answered_by(self) -> str | list[str]:
        """Return the word, the one name, or the names in order; one that is a word is a list."""
        if self.is_inactive:
            return INACTIVE
        if not self.deployments:
            return UNASSIGNED
        if len(self.deployments) == 1 and self.deployments[0] not in (INACTIVE, UNASSIGNED):
            return self.deployments[0]
        return list(self.deployments)


@dataclass(frozen=True, slots=True)
class Document:
    """A whole configuration, or the part of one that a file speaks of.

    Attributes:
        deployments: Distinct names.
        features: A feature that is not there is not spoken of: unassigned in a whole
            configuration, left as it is by a file.
        lines: The line of each value, for a document that was read from text.
    """

    deployments: tuple[DeploymentEntry, ...] = ()
    features: Mapping[Feature, Choice] = field(default_factory=dict)
    lines: Mapping[Trail, int] = field(default_factory=dict, compare=False, repr=False)

    def to_data(self) -> Data:
        """Return the one form of this configuration: sorted, nothing that is at its default."""
        chosen = {feature: self.features.get(feature, Choice()) for feature in Feature}
        return {
            "version": VERSION,
            "deployments": [
                entry.to_data() for entry in sorted(self.deployments, key=lambda entry: entry.name)
            ],
            "features": {
                feature.value: choice.to_data()
                for feature, choice in chosen.items()
                if choice != Choice()
            },
        }

    def digest(self) -> str:
        """Return the name of this configuration; it changes exactly when the configuration does."""
        return digest_of(self.to_data())

    def problem(self, message: str, *trail: str | int) -> Problem:
        """Return what is wrong with the value at `trail`, and where it stands."""
        return Problem(message, trail, line_of(self.lines, trail))


def digest_of(data: Any) -> str:
    """Return a digest of JSON data, whatever the order of its keys."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:DIGEST_CHARS]


def line_of(lines: Mapping[Trail, int], trail: Trail) -> int | None:
    """Return where a value stands, or for an absent one where its parent does."""
    while trail and trail not in lines:
        trail = trail[:-1]
    return lines.get(trail)


def _plain(value: Any) -> Any:
    """Return JSON data of an entry, without what is at its default."""
    if is_dataclass(value):
        return {
            item.name: _plain(found)
            for item in fields(value)
            if (found := getattr(value, item.name)) != item.default or item.default is MISSING
        }
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
