"""all-MiniLM-L6-v2, a small model that turns English text into vectors, with NumPy alone.

One text at a time: that is as fast as many at once, and needs neither padding nor masks.

Sources: Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, 2018 (the layers);
Reimers and Gurevych, Sentence-BERT, 2019 (the mean as a sentence's vector).
"""

import hashlib
import json
import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from docsearch.encoding import EncoderIdentity

NAME = "all-MiniLM-L6-v2"
DIMENSIONS = 384
#: A longer text is cut: so long were those the model learned from.
MAX_TOKENS = 128

_LAYERS = 6
_HEADS = 12
_EPSILON = 1e-12
_LARGEST_BYTE = 127

Floats = NDArray[np.float32]


class MiniLM:
    """The encoder; threads may share it.

    The weights stay in their file: what is read of it is in memory once, for all workers of a node.

    Attributes:
        identity: Of this encoder, weights, tokenizer and limit included.
    """

    def __init__(self, folder: Path) -> None:
        """Open the model in `folder`, which holds model.safetensors and tokenizer.json."""
        files = (folder / "model.safetensors", folder / "tokenizer.json")
        digests = " ".join((*map(_sha256_of, files), str(MAX_TOKENS)))
        digest = hashlib.sha256(digests.encode()).hexdigest()
        self.identity = EncoderIdentity(NAME, digest, DIMENSIONS)
        self._weights = _read_weights(files[0])
        self._tokenizer = Tokenizer.from_file(str(files[1]))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def encode(self, text: str) -> bytes:
        """Return the vector of a text, as `docsearch.encoding.Encoder` says."""
        vector = self._mean(self._tokenizer.encode(text).ids)
        stretched = vector * (_LARGEST_BYTE / np.abs(vector).max())
        packed: bytes = np.rint(stretched).astype(np.int8).tobytes()
        return packed

    def _mean(self, token_ids: list[int]) -> Floats:
        """Return what the last layer makes of the tokens, on average."""
        hidden: Floats = (
            self._weights["embeddings.word_embeddings.weight"][token_ids]
            + self._weights["embeddings.position_embeddings.weight"][: len(token_ids)]
            + self._weights["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._normal(hidden, "embeddings.LayerNorm")
        for number in range(_LAYERS):
            layer = f"encoder.layer.{number}"
            attended = self._attend(hidden, f"{layer}.attention.self")
            hidden = hidden + self._linear(attended, f"{layer}.attention.output.dense")
            hidden = self._normal(hidden, f"{layer}.attention.output.LayerNorm")
            inner = _gelu(self._linear(hidden, f"{layer}.intermediate.dense"))
            hidden = hidden + self._linear(inner, f"{layer}.output.dense")
            hidden = self._normal(hidden, f"{layer}.output.LayerNorm")
        return np.asarray(hidden.mean(axis=0))

    def _attend(self, hidden: Floats, name: str) -> Floats:
        """Let each token look at all others, with twelve heads beside each other."""
        query, key, value = (
            self._linear(hidden, f"{name}.{part}")
            .reshape(len(hidden), _HEADS, DIMENSIONS // _HEADS)
            .transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(DIMENSIONS // _HEADS))
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return np.asarray((shares @ value).transpose(1, 0, 2).reshape(hidden.shape))

    def _linear(self, inputs: Floats, name: str) -> Floats:
        weights = self._weights
        return np.asarray(inputs @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])

    def _normal(self, inputs: Floats, name: str) -> Floats:
        """Give each token mean 0 and variance 1, then the scale that was learned."""
        centred = inputs - inputs.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + _EPSILON)
        weights = self._weights
        return np.asarray(centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def _gelu(inputs: Floats) -> Floats:
    """The Gaussian error linear unit, by tanh: five times as fast as by erf, and the same vectors.

    Source: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
    """
    scaled = np.float32(np.sqrt(2 / np.pi)) * (
        inputs + np.float32(0.044715) * inputs * inputs * inputs
    )
    return np.asarray(np.float32(0.5) * inputs * (1 + np.tanh(scaled)))


def _read_weights(file: Path) -> dict[str, Floats]:
    """Return the tensors of a safetensors file, in place.

    The format: the length of a JSON header, in 8 bytes; the header; the tensors, row by row.
    """
    with file.open("rb") as opened:
        content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    header_ends = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:header_ends])
    return {
        name: np.frombuffer(
            content,
            dtype="<f4",
            count=int(np.prod(entry["shape"])),
            offset=header_ends + entry["data_offsets"][0],
        ).reshape(entry["shape"])
        for name, entry in header.items()
        if entry.get("dtype") == "F32"
    }


def _sha256_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
