"""The path of a pasted URL: the operation it ends in, and where a base URL may be. Pure."""

import re
from collections.abc import Iterator
from dataclasses import replace

from selfhosted_models.families import ModelFamily
from selfhosted_models.serving import ServingConfig
from selfhosted_models.serving_formats.base import (
    Completion,
    FillInMiddle,
    Message,
    Sampling,
    ServingFormat,
)
from selfhosted_models.serving_formats.registry import SERVING_FORMATS

#: A model identifier, where a format needs one before any is known.
STAND_IN = "a-model"
#: How far up from a pasted path we look.
MAX_LEVELS = 4


def without_operation(path: str) -> tuple[str, str | None]:
    """Return `path` without the operation it ends in, and the format if only one has it."""
    ends = {
        (len(end[0]), key)
        for key, serving_format in SERVING_FORMATS.items()
        for pattern in _operations(serving_format)
        if (end := re.search(pattern + r"\Z", path))
    }
    longest = max((chars for chars, _ in ends), default=0)
    keys = [key for chars, key in ends if chars == longest]
    return path[: len(path) - longest], keys[0] if len(keys) == 1 else None


def base_paths(path: str, serving_format: ServingFormat) -> Iterator[str]:
    """Yield the base paths at which a server of the format may be, the likeliest first."""
    usual = serving_format.base_path
    above = [path]
    while above[-1] and len(above) < MAX_LEVELS:
        above.append(above[-1].rpartition("/")[0])
    completed = (level if level.endswith(usual) else level + usual for level in above)
    yield from dict.fromkeys([*completed, *above])


def _operations(serving_format: ServingFormat) -> Iterator[str]:
    """Yield a pattern for each path of the format that is asked for something."""
    stand_in = ServingConfig("", ModelFamily.GENERAL, serving_format.key, (), STAND_IN)
    native = replace(stand_in, fills_in_middle=True)
    sampling, chat = Sampling(1), (Message("user", ""),)
    wires = [
        serving_format.build_request(serving, completion, stream=stream)
        for serving, completion in (
            (stand_in, Completion(sampling, messages=chat)),
            (stand_in, Completion(sampling, text="")),
            (native, Completion(sampling, messages=chat, fill_in_middle=FillInMiddle("", ""))),
        )
        for stream in (False, True)
    ]
    inquiries = (serving_format.list_models(), serving_format.find_context(stand_in))
    paths = {wire.path for wire in wires} | {each.request.path for each in inquiries if each}
    for path in sorted(paths):
        yield re.escape(path).replace(re.escape(STAND_IN), "[^/]+")
