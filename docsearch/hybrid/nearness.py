"""How near the sections of an index are to a question: its vector beside all of theirs."""

import sqlite3
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from docsearch.encoding import Encoder
from docsearch.index import DocsIndex, IndexFacts

#: So that a search costs about the same, however much documentation there is.
_NEAREST_SECTIONS = 2000

Floats = NDArray[np.float32]


class VectorSearch:
    """Compares vectors; `docsearch.search.MeaningSearch` says what it returns."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._sections: WeakKeyDictionary[DocsIndex, Floats] = WeakKeyDictionary()

    def obstacle(self, facts: IndexFacts) -> str:
        """Return why an index can be searched by words only; "" if it need not be."""
        own, made_by = self._encoder.identity, facts.encoder
        if made_by == own:
            return ""
        of = f"GitLab {facts.gitlab_version}'s documentation was searched by words only: its index"
        remedy = "Build it again with build_docs_index --vectors"
        if made_by is None:
            return f"{of} holds no vectors. {remedy}."
        return (
            f"{of} has vectors of {made_by.name} ({made_by.sha256[:8]}), and this node "
            f"{own.name} ({own.sha256[:8]}). {remedy}, with the requirements-hybrid.txt of this "
            "release."
        )

    def nearness(
        self, index: DocsIndex, connection: sqlite3.Connection, text: str
    ) -> dict[int, float]:
        """Return the sections nearest to a text, and the cosine of their angle, by their ids."""
        dimensions = self._encoder.identity.dimensions
        sections = self._sections.get(index)
        if sections is None:
            sections = _directions(_read_all(connection), dimensions)
            self._sections[index] = sections
        cosines = sections @ _directions(self._encoder.encode(text), dimensions)[0]
        nearest = np.argsort(cosines)[-_NEAREST_SECTIONS:]
        return {
            at + 1: near
            for at, near in zip(nearest.tolist(), cosines[nearest].tolist(), strict=True)
            if near > 0
        }


def _read_all(connection: sqlite3.Connection) -> bytes:
    rows = connection.execute("SELECT vector FROM vectors ORDER BY section_id")
    return b"".join(vector for (vector,) in rows)


def _directions(vectors: bytes, dimensions: int) -> Floats:
    """Return vectors as rows of length 1; one of zeros alone stays so, and is near nothing."""
    rows = np.frombuffer(vectors, np.int8).reshape(-1, dimensions).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)
    return rows
