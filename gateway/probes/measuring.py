"""Measuring the registered deployments, with the prompts their features really use."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from django.conf import settings

from gateway.doors import open_fleet, own_slot
from gateway.models import Lease
from gateway.runtime import runtime_settings
from prompts.loader import shipped_prompts
from prompts.registry import PromptRegistry, variants_for
from prompts.render import render
from selfhosted_models.errors import DeploymentError
from selfhosted_models.models import Fingerprint, ModelDeployment
from selfhosted_models.probing import filling
from selfhosted_models.probing.findings import failed
from selfhosted_models.probing.measuring import WITHIN_S, FeaturePrompts, measure
from selfhosted_models.probing.results import AbilityResult, Trait, is_usable
from selfhosted_models.secrets import SecretBox
from selfhosted_models.serving import ServingConfig
from selfhosted_models.serving_formats.base import Completion

log = structlog.get_logger(__name__)

_CHAT_INPUTS = {"messages": [{"role": "user", "content": "What is a merge request?"}]}
_CODE_INPUTS = {
    "prefix": filling.PREFIX,
    "suffix": filling.SUFFIX,
    "file_name": filling.FILE_NAME,
    "language": filling.LANGUAGE,
}


#: One measurement at a time in the whole installation: they take time from users.
LEASE = "fingerprints"
LEASE_SPARE_S = 30.0


class AlreadyMeasuring(Exception):
    """Another measurement is under way."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One deployment, measured.

    Attributes:
        fingerprint: What was stored; None where there was nothing to store.
    """

    deployment: str
    results: tuple[AbilityResult, ...]
    fingerprint: Fingerprint | None

    @property
    def is_usable(self) -> bool:
        return is_usable(self.results)


#: Is told each finding as it comes, and of which deployment.
OnResult = Callable[[str, AbilityResult], None]


def feature_prompts(registry: PromptRegistry, serving: ServingConfig) -> FeaturePrompts:
    """Return what chat and code completion ask of `serving`."""

    def asked(prompt: str, inputs: Mapping[str, Any]) -> Completion:
        definition = registry.find(prompt, variants_for(serving.family, None))
        return render(definition, inputs, context_tokens=serving.context_tokens).completion

    return FeaturePrompts(
        chat=asked("duo_chat", _CHAT_INPUTS), code=asked("code_completions", _CODE_INPUTS)
    )


def measure_all(names: Collection[str] = ()) -> list[Measured]:
    """Measure deployments and store what is found; blocks, for minutes. See `measure_each`."""
    return list(measure_each(names))


def measure_each(
    names: Collection[str] = (),
    *,
    on_result: OnResult = lambda _deployment, _result: None,
    within_s: float = WITHIN_S,
) -> Iterator[Measured]:
    """Yield each deployment once it is measured and stored, one after the other.

    Args:
        names: Which; all active ones, if none is named.
        on_result: Is told each finding as it comes.
        within_s: For each deployment.

    Raises:
        AlreadyMeasuring: Somebody else is, on this node or another.
    """
    rows = ModelDeployment.objects.all()
    rows = rows.filter(name__in=names) if names else rows.active()
    box = SecretBox(settings.ENCRYPTION_KEYS)
    holder = secrets.token_hex(16)
    try:
        for row in list(rows):
            lease_s = within_s + LEASE_SPARE_S
            if not Lease.objects.take(LEASE, holder, lease_s=lease_s, now=time.time()):
                raise AlreadyMeasuring
            yield _measure_row(row, box, on_result, within_s)
    finally:
        Lease.objects.give_up(LEASE, holder)


def _measure_row(
    row: ModelDeployment, box: SecretBox, on_result: OnResult, within_s: float
) -> Measured:
    try:
        serving = row.to_serving_config(box)
    except DeploymentError as error:
        unusable = failed(Trait.REACHABLE, error)
        on_result(row.name, unusable)
        return Measured(row.name, (unusable,), None)
    results = asyncio.run(_results(serving, on_result, within_s))
    return Measured(row.name, results, store(row, results))


def store(row: ModelDeployment, results: Sequence[AbilityResult]) -> Fingerprint | None:
    """Store what was measured of `row`, and tell the log what is new; see `record`."""
    fingerprint = Fingerprint.objects.record(row, results)
    if fingerprint is not None and fingerprint.measured_at == fingerprint.created_at:
        log.info("fingerprint.stored", deployment=row.name, digest=fingerprint.digest)
        if fingerprint.has_drifted:
            log.warning("fingerprint.drifted", deployment=row.name, changes=fingerprint.drift)
    return fingerprint


async def _results(
    serving: ServingConfig, on_result: OnResult, within_s: float
) -> tuple[AbilityResult, ...]:
    results = []
    async with aclosing(findings_of(serving, within_s)) as findings:
        async for result in findings:
            on_result(serving.deployment, result)
            results.append(result)
    return tuple(results)


async def findings_of(
    serving: ServingConfig, within_s: float = WITHIN_S
) -> AsyncGenerator[AbilityResult, None]:
    """Yield each finding as it comes, asked with the prompts of real features."""
    prompts = feature_prompts(shipped_prompts().registry, serving)
    async with open_fleet(runtime_settings(), (serving,)) as fleet:
        in_a_slot = partial(own_slot, fleet, serving)
        findings = measure(fleet.door, serving, prompts, within_s=within_s, admission=in_a_slot)
        async with aclosing(findings):
            async for result in findings:
                yield result
