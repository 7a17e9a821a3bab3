"""Reading suites: ours from their folder, a site's own from any file.

A suite is one YAML file; `prompts/evaluation/README.md` tells its keys. Every mistake is told with
file and line, and a broken suite does not hinder the others.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema.exceptions import best_match

from feature_config.catalogue import Feature
from prompts.documents import DefinitionInvalid, read_document
from prompts.errors import PromptError
from prompts.evaluation.scorers import SCORERS
from prompts.evaluation.suite import Case, Check, Suite
from prompts.inputs import accept_inputs
from prompts.loader import DefinitionProblem, shipped_prompts
from prompts.registry import PromptRegistry, variants_for
from prompts.section import Section
from selfhosted_models.families import ModelFamily

SUITES_DIR = Path(__file__).parent / "suites"

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_CASE_ID = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class LoadedSuites:
    """What could be read, and what could not."""

    suites: tuple[Suite, ...]
    problems: tuple[DefinitionProblem, ...]


@cache
def shipped_suites() -> LoadedSuites:
    """Return the suites that come with the product, read once per process."""
    return load_suites(sorted(SUITES_DIR.glob("*.yml")), shipped_prompts().registry)


def load_suites(paths: list[Path], registry: PromptRegistry) -> LoadedSuites:
    """Read suites from files.

    Args:
        paths: Of the files.
        registry: Whose prompts the inputs of the cases must fit.
    """
    suites, problems = [], []
    for path in paths:
        try:
            suites.append(_suite(path, registry))
        except DefinitionInvalid as error:
            place = error.place
            problems.append(DefinitionProblem(place.path, place.line, error.message))
    return LoadedSuites(tuple(suites), tuple(problems))


def _suite(path: Path, registry: PromptRegistry) -> Suite:
    section = Section(read_document(path))
    section.allow("version", "feature", "bar", "checks", "cases")
    section.require("version", "feature", "bar", "cases")
    if not _VERSION.fullmatch(version := section.text("version")):
        section.fail("must be a version such as 1.0.0", "version")
    feature = section.choice("feature", Feature, Feature.DUO_CHAT)
    shared = tuple(_checks(section))
    cases = [_case(item, shared, feature, registry) for item in section.sections("cases")]
    if not cases:
        section.fail("needs at least one case", "cases")
    ids = [case.id for case in cases]
    for position, case_id in enumerate(ids):
        if case_id in ids[:position]:
            section.fail(f"there is a case '{case_id}' before", "cases", position, "id")
    bar = section.number("bar", 0, 1)
    return Suite(path.stem, version, feature, bar or 0.0, tuple(cases))


def _case(
    section: Section, shared: tuple[Check, ...], feature: Feature, registry: PromptRegistry
) -> Case:
    section.allow("id", "inputs", "checks", "reference")
    section.require("id", "inputs", "checks")
    if not _CASE_ID.fullmatch(case_id := section.text("id")):
        section.fail("must be small letters, digits and hyphens", "id")
    inputs = section.section("inputs")
    definition = registry.find(feature, variants_for(ModelFamily.GENERAL, None))
    for name in inputs.data:
        if name not in definition.inputs:
            known = ", ".join(definition.inputs)
            inputs.fail(f"unknown input; those of {feature} are {known}", name)
    try:
        accept_inputs(definition, inputs.data)
    except PromptError as error:
        inputs.fail(error.safe_message)
    checks = tuple(_checks(section))
    if not checks:
        section.fail("needs at least one check", "checks")
    reference = section.text("reference") if "reference" in section.data else ""
    return Case(case_id, inputs.data, (*shared, *checks), reference)


def _checks(section: Section) -> Iterator[Check]:
    if "checks" not in section.data:
        return
    checks = section.section("checks")
    for name, wanted in checks.data.items():
        if name not in SCORERS:
            checks.fail(f"unknown scorer; there is {', '.join(sorted(SCORERS))}", name)
        error = best_match(SCORERS[name].wanted.iter_errors(wanted))
        if error is not None:
            checks.fail(_told(error), name, *error.absolute_path)
        yield Check(name, wanted)


def _told(error: Any) -> str:
    return f"does not fit {error.validator}: {error.validator_value}"
