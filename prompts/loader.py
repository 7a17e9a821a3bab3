"""Reading every prompt definition from its folder, once.

A definition is `<prompt>/<variant>/<version>.yml`. What variants of a prompt share is in
`<prompt>/base/<version>.yml`, which they name with `extends`. Partials (`.jinja`) stand anywhere.
`control_tokens.yml` lists, by variant, what must not enter a prompt of that variant.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prompts.definition import PromptDefinition
from prompts.documents import (
    DefinitionInvalid,
    Document,
    Place,
    merge_documents,
    read_document,
    read_source,
)
from prompts.parsing import Identity, check_control_tokens, parse_definition
from prompts.registry import PromptRegistry
from prompts.section import Section
from prompts.templates import Templates
from selfhosted_models.families import ModelFamily, family_of_wire_name

DEFINITIONS_DIR = Path(__file__).parent / "definitions"

#: The variant that is only extended, never chosen.
BASE = "base"

_CONTROL_TOKENS_FILE = "control_tokens.yml"
_PROMPT_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-(dev|alpha|beta|rc)(\.\d+)?)?")


@dataclass(frozen=True, slots=True)
class DefinitionProblem:
    """Something wrong in a file, and where."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class LoadedPrompts:
    """What could be loaded, and what could not."""

    registry: PromptRegistry
    problems: tuple[DefinitionProblem, ...]


def load_definitions(root: Path = DEFINITIONS_DIR) -> LoadedPrompts:
    """Read and compile every definition below `root`; a broken one does not hinder the others."""
    return _Loading(root).load()


@cache
def shipped_prompts() -> LoadedPrompts:
    """Return the definitions that come with the product, read once per process."""
    return load_definitions()


class _Loading:
    """One pass over the folder, gathering problems on the way."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: dict[DefinitionProblem, None] = {}  # a shared file's, only once

    def load(self) -> LoadedPrompts:
        partials, documents = self._read_files()
        templates = Templates(self.root, partials)
        for name in partials:
            with self._noting():
                templates.check_partial(name)
        control_tokens = self._control_tokens(documents.pop(_CONTROL_TOKENS_FILE, None))
        bases, variants = self._by_identity(documents)
        definitions: list[PromptDefinition] = []
        for identity, document in variants.items():
            with self._noting():
                whole = _extended(identity, document, bases)
                tokens = control_tokens.get(identity.variant, ())
                definitions.append(parse_definition(identity, whole, templates, tokens))
        return LoadedPrompts(PromptRegistry(definitions), tuple(self.problems))

    def _read_files(self) -> tuple[dict[str, str], dict[str, Document]]:
        """Return partials and documents, by path below the root."""
        partials: dict[str, str] = {}
        documents: dict[str, Document] = {}
        with self._noting():
            if not self.root.is_dir():
                raise DefinitionInvalid(Place(self.root, 1), "is not a folder of definitions")
        for path in sorted(self.root.rglob("*")):
            if path.is_dir() or path.name.startswith("."):
                continue
            with self._noting():
                name = path.relative_to(self.root).as_posix()
                if path.suffix == ".jinja":
                    partials[name] = read_source(path)
                elif path.suffix == ".yml":
                    documents[name] = read_document(path)
                else:
                    raise DefinitionInvalid(Place(path, 1), "is neither .yml nor .jinja")
        return partials, documents

    def _control_tokens(self, document: Document | None) -> dict[str, tuple[str, ...]]:
        """Return the control tokens by variant."""
        tokens: dict[str, tuple[str, ...]] = {}
        if document is not None:
            section = Section(document)
            for variant in section.data:
                with self._noting():
                    _check_variant(variant, section.place_of(variant))
                    tokens[variant] = check_control_tokens(section, variant)
        return tokens

    def _by_identity(
        self, documents: Mapping[str, Document]
    ) -> tuple[dict[Identity, Document], dict[Identity, Document]]:
        """Tell bases and variants apart."""
        bases: dict[Identity, Document] = {}
        variants: dict[Identity, Document] = {}
        for name, document in documents.items():
            with self._noting():
                identity = _identity(name, document.place_of(()))
                (bases if identity.variant == BASE else variants)[identity] = document
        return bases, variants

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except DefinitionInvalid as error:
            problem = DefinitionProblem(error.place.path, error.place.line, error.message)
            self.problems[problem] = None


def _identity(name: str, place: Place) -> Identity:
    """Read from a file's path which definition it holds."""
    match name.removesuffix(".yml").split("/"):
        case [prompt, variant, version]:
            pass
        case _:
            raise DefinitionInvalid(place, "must be at <prompt>/<variant>/<version>.yml")
    if not _PROMPT_NAME.fullmatch(prompt):
        raise DefinitionInvalid(place, f"'{prompt}' must be small letters, digits and underscores")
    if variant != BASE:
        _check_variant(variant, place)
    if not _VERSION.fullmatch(version):
        raise DefinitionInvalid(place, f"'{version}' must be a version such as 1.0.0 or 1.1.0-rc.1")
    return Identity(prompt, variant, version)


def _check_variant(variant: str, place: Place) -> None:
    if variant not in tuple(ModelFamily) and family_of_wire_name(variant) is None:
        raise DefinitionInvalid(place, f"'{variant}' is neither a model family nor a wire name")


def _extended(
    identity: Identity, document: Document, bases: Mapping[Identity, Document]
) -> Document:
    """Lay a variant over the base it names, if it names one."""
    section = Section(document)
    if "extends" not in section.data:
        return document
    base = bases.get(Identity(identity.prompt, BASE, section.text("extends")))
    if base is None:
        section.fail(
            f"there is no {identity.prompt}/{BASE}/{section.text('extends')}.yml", "extends"
        )
    if "extends" in base.data:
        Section(base).fail("a base cannot extend another", "extends")
    merged = merge_documents(base, document)
    data = {key: value for key, value in merged.data.items() if key != "extends"}
    return Document(data, merged.places)
