"""Texts as vectors, as far as an index knows of them. The model is an extra: `docsearch.hybrid`."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What made a vector: those of different encoders cannot be compared.

    Attributes:
        name: For people.
        sha256: Of everything that a vector depends on, in lower-case hexadecimal digits.
        dimensions: Of a vector; each is one signed byte.
    """

    name: str
    sha256: str
    dimensions: int


class Encoder(Protocol):
    """Turns texts into vectors; threads may share it.

    Attributes:
        identity: Of this encoder.
    """

    @property
    def identity(self) -> EncoderIdentity: ...

    def encode(self, text: str) -> bytes:
        """Return the vector of a text of any length: the nearer its direction, the nearer in sense.

        Its length tells nothing: every vector is stretched to fill its signed bytes.
        """
