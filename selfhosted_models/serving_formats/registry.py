"""The serving formats there are: each folder beside this file is one, found by being there."""

import pkgutil
from collections.abc import Sequence
from importlib import import_module

from selfhosted_models import serving_formats
from selfhosted_models.serving_formats.base import ServingFormat


def discover(package: str, folders: Sequence[str]) -> dict[str, ServingFormat]:
    """Return the `FORMAT` of each sub-package's module `format`, by key and in order of title.

    Args:
        package: Name of the package that holds them.
        folders: Its `__path__`.
    """
    found: list[ServingFormat] = [
        import_module(f"{package}.{module.name}.format").FORMAT
        for module in pkgutil.iter_modules(folders)
        if module.ispkg
    ]
    found.sort(key=lambda serving_format: serving_format.title.casefold())
    return {serving_format.key: serving_format for serving_format in found}


SERVING_FORMATS = discover(serving_formats.__name__, serving_formats.__path__)
