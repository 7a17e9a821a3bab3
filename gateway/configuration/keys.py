"""Reading the API keys that a configuration file refers to, on the machine where it is applied."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.configuration.document import KeyReference
from gateway.configuration.errors import KeyUnreadable

#: More than any key has; a reference to a wrong file does not fill the memory.
MAX_FILE_BYTES = 8192


@dataclass(frozen=True, slots=True)
class KeyReader:
    """Resolves references. Only for commands: a web client must not choose what is read here.

    Attributes:
        environ: Where `env` is looked up.
        folder: What a relative `file` starts from.
    """

    environ: Mapping[str, str]
    folder: Path

    def read(self, reference: KeyReference) -> str:
        """Return the key that `reference` names.

        Raises:
            KeyUnreadable: It is not there, or empty.
        """
        key = self._from_env(reference.env) if reference.env else self._from_file(reference.file)
        return key.strip()

    def _from_env(self, name: str) -> str:
        key = self.environ.get(name, "")
        if not key.strip():
            raise KeyUnreadable(f"The environment variable {name} is not set: set it to the key.")
        return key

    def _from_file(self, name: str) -> str:
        try:
            with (self.folder / name).open("rb") as file:
                key = file.read(MAX_FILE_BYTES).decode("ascii")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no ASCII text"
            raise KeyUnreadable(
                f"The file {name} cannot be read ({why}): write the key, and nothing else, into it."
            ) from error
        if not key.strip():
            raise KeyUnreadable(f"The file {name} is empty: write the key into it.")
        return key
