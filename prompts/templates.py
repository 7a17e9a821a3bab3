"""Compiling templates, and finding at load time what would otherwise fail in a request."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import DictLoader, StrictUndefined, Template, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from prompts.definition import FillTemplate
from prompts.documents import DefinitionInvalid, Place


@dataclass(frozen=True, slots=True)
class CompiledTemplate:
    """A template ready to fill, and the partials it is made of with their sources."""

    fill: FillTemplate
    partials: Mapping[str, str]


class Templates:
    """The compiler of one set of partials. Nothing is read from files after this."""

    def __init__(self, root: Path, partials: Mapping[str, str]) -> None:
        """Take the partials by name: their path below `root`, as an include writes it."""
        self._root = root
        self.partials = partials
        self._trees: dict[str, nodes.Template] = {}
        self._compiled: dict[str, Template] = {}  # variants share most of their templates
        self._environment = ImmutableSandboxedEnvironment(
            loader=DictLoader(partials),
            undefined=StrictUndefined,
            # What is made is text for a model, never HTML: escaping would corrupt code.
            autoescape=False,
            auto_reload=False,
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def check_partial(self, name: str) -> None:
        """Compile one partial.

        Raises:
            DefinitionInvalid: It is not a template.
        """
        self._parse(self.partials[name], Place(self._root / name, 1))

    def compile(self, source: str, names: Collection[str], place: Place) -> CompiledTemplate:
        """Compile a template that may use the variables `names`.

        Raises:
            DefinitionInvalid: It, or a partial it includes, is broken or uses another variable.
        """
        partials: dict[str, str] = {}
        for name, part, start in self._with_partials(source, place, ()):
            if name is not None:
                partials[name] = part
            for variable, where in self._variables(part, start):
                if variable not in names:
                    raise DefinitionInvalid(where, f"uses '{variable}', which is not an input")
        return CompiledTemplate(self._compiled[source].render, partials)

    def _variables(self, source: str, place: Place) -> Iterator[tuple[str, Place]]:
        """Yield the variables a template does not set itself, with the place of each use."""
        tree = self._parse(source, place)
        free = meta.find_undeclared_variables(tree)
        for node in tree.find_all(nodes.Name):
            if node.name in free:
                yield node.name, place.later(node.lineno - 1)

    def _with_partials(
        self, source: str, place: Place, outer: tuple[str, ...]
    ) -> Iterator[tuple[str | None, str, Place]]:
        yield outer[-1] if outer else None, source, place
        for node in self._parse(source, place).find_all(
            (nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)
        ):
            where = place.later(node.lineno - 1)
            if not isinstance(node, nodes.Include) or not isinstance(node.template, nodes.Const):
                raise DefinitionInvalid(where, "may only include partials, by their path")
            name = node.template.value
            if name not in self.partials:
                raise DefinitionInvalid(where, f"includes '{name}', which does not exist")
            if name in outer:
                raise DefinitionInvalid(where, f"includes '{name}', which includes this file")
            partial = Place(self._root / name, 1)
            yield from self._with_partials(self.partials[name], partial, (*outer, name))

    def _parse(self, source: str, place: Place) -> nodes.Template:
        if source not in self._trees:
            try:
                # First, for it finds what parsing lets pass: unknown filters and tests.
                self._compiled[source] = self._environment.from_string(source)
                self._trees[source] = self._environment.parse(source)
            except TemplateSyntaxError as error:
                where = place.later(error.lineno - 1)
                raise DefinitionInvalid(where, f"is not a template: {error.message}") from error
        return self._trees[source]
