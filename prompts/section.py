"""Reading typed values out of a document, with a message and a place for everything amiss."""

from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from prompts.documents import DefinitionInvalid, Document, Place, Trail

_E = TypeVar("_E", bound=StrEnum)


class Section:
    """A mapping inside a document."""

    def __init__(self, document: Document, trail: Trail = ()) -> None:
        self.document = document
        self.trail = trail
        value: Any = document.data
        for step in trail:
            value = value[step]
        if not isinstance(value, dict):
            self.fail("must be a mapping of keys to values")
        self.data: dict[str, Any] = value

    def place_of(self, *steps: str | int) -> Place:
        return self.document.place_of((*self.trail, *steps))

    def fail(self, message: str, *steps: str | int) -> NoReturn:
        """Say what is wrong with the value at `steps`, or with the section itself."""
        name = ".".join(str(step) for step in (*self.trail, *steps))
        raise DefinitionInvalid(self.place_of(*steps), f"{name}: {message}" if name else message)

    def allow(self, *keys: str) -> None:
        """Refuse every other key."""
        for key in self.data:
            if key not in keys:
                self.fail(f"unknown key; the keys here are {', '.join(keys)}", key)

    def require(self, *keys: str) -> None:
        """Refuse the absence of a key."""
        for key in keys:
            if key not in self.data:
                self.fail(f"the key '{key}' is missing")

    def text(self, key: str) -> str:
        value = self.data[key]
        if not isinstance(value, str):
            self.fail("must be text", key)
        return value

    def choice(self, key: str, options: type[_E], default: _E) -> _E:
        """Return the member of an enumeration that is named."""
        value = self.data.get(key, default)
        if not isinstance(value, str) or value not in tuple(options):
            self.fail(f"must be one of {', '.join(options)}", key)
        return options(value)

    def flag(self, key: str) -> bool:
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            self.fail("must be true or false", key)
        return value

    def count(self, key: str) -> int | None:
        """Return a whole number above zero, or None where there is none."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.fail("must be a whole number above 0", key)
        return value

    def number(self, key: str, least: float, most: float) -> float | None:
        """Return a number from `least` to `most`, or None where there is none."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.fail("must be a number", key)
        if not least <= value <= most:
            self.fail(f"must be from {least:g} to {most:g}", key)
        return float(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of non-empty texts, empty where there is none."""
        for position, item in enumerate(self._items(key)):
            if not isinstance(item, str) or not item:
                self.fail("must be text and not empty", key, position)
        return tuple(self.data.get(key, ()))

    def sections(self, key: str) -> Iterator["Section"]:
        """Yield each mapping of a list."""
        for position in range(len(self._items(key))):
            yield Section(self.document, (*self.trail, key, position))

    def named_sections(self, key: str) -> Iterator[tuple[str, "Section"]]:
        """Yield each mapping of a mapping, with its name."""
        if key in self.data:
            for name in Section(self.document, (*self.trail, key)).data:
                yield name, Section(self.document, (*self.trail, key, name))

    def section(self, key: str) -> "Section":
        return Section(self.document, (*self.trail, key))

    def _items(self, key: str) -> Collection[Any]:
        value = self.data.get(key, [])
        if not isinstance(value, list):
            self.fail("must be a list", key)
        return value
