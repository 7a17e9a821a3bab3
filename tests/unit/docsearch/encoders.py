"""A small encoder in place of the model: texts with words in common are near each other."""

from collections.abc import Mapping
from hashlib import sha256

from docsearch.cleaning import stem, words
from docsearch.encoding import EncoderIdentity

_DIMENSIONS = 64
_MOST = 127


class WordEncoder:
    """Counts words in a few boxes.

    It knows no meaning but what it is told: of each word in `senses`, the one it stands for.
    """

    def __init__(self, senses: Mapping[str, str] | None = None, *, name: str = "words") -> None:
        self.identity = EncoderIdentity(name, sha256(name.encode()).hexdigest(), _DIMENSIONS)
        self._senses = senses or {}

    def encode(self, text: str) -> bytes:
        counts = [0] * _DIMENSIONS
        for word in words(text):
            sense = stem(self._senses.get(word, word))
            counts[sha256(sense.encode()).digest()[0] % _DIMENSIONS] += 1
        most = max(counts) or 1
        return bytes(count * _MOST // most for count in counts)
