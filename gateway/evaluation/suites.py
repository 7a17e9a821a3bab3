"""The suites there are on this site: ours, and those in its own folder."""

from pathlib import Path

from django.conf import settings

from feature_config.catalogue import Feature
from gateway.evaluation.errors import EvaluationRefused
from prompts.evaluation.loader import LoadedSuites, load_suites, shipped_suites
from prompts.evaluation.suite import Suite
from prompts.loader import shipped_prompts


def own_suites() -> LoadedSuites:
    """Read the site's own suites, and what is wrong with those that are broken.

    They are offered to pages and the REST API by the name of their file; a command takes any path.
    """
    return load_suites(_own_files(), shipped_prompts().registry)


def path_of_suite(feature: Feature, name: str) -> str:
    """Return the file of the site's suite `name`; the empty name, ours, has none.

    Raises:
        EvaluationRefused: There is none of this name, it is broken, or for another feature.
    """
    if not name:
        return ""
    for path in _own_files():
        if path.stem == name:
            suite_for(feature, str(path))
            return str(path)
    folder = settings.EVALUATION_SUITES_DIR
    raise EvaluationRefused(f"There is no suite '{name}': it would be a .yml file in {folder}.")


def suite_for(feature: Feature, path: str = "") -> Suite:
    """Return our suite of a feature, or that in the file at `path`.

    Raises:
        EvaluationRefused: The file is broken, or for another feature.
    """
    loaded = load_suites([Path(path)], shipped_prompts().registry) if path else shipped_suites()
    if path and loaded.problems:
        raise EvaluationRefused("\n".join(map(str, loaded.problems)))
    for suite in loaded.suites:
        if suite.feature == feature:
            return suite
    raise EvaluationRefused(f"{path or 'The product'} holds no suite for {feature}.")


def _own_files() -> list[Path]:
    return sorted(settings.EVALUATION_SUITES_DIR.glob("*.yml"))
