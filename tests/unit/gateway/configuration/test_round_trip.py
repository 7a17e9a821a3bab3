"""Random documents: applied and exported they are themselves, and wrong ones change nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_config.catalogue import Feature, support_level
from gateway.audit import Attribution, Origin
from gateway.configuration.applying import apply_document
from gateway.configuration.document import (
    Choice,
    DeploymentEntry,
    Document,
    KeyReference,
    Timeouts,
)
from gateway.configuration.errors import DocumentInvalid
from gateway.configuration.exporting import to_yaml
from gateway.configuration.keys import KeyReader
from gateway.configuration.parsing import parse_document
from gateway.configuration.stored import read_configuration
from gateway.models import AuditRecord, Revision
from selfhosted_models.errors import EndpointRefused
from selfhosted_models.families import ModelFamily
from selfhosted_models.secrets import Secret
from selfhosted_models.serving_formats.registry import SERVING_FORMATS

pytestmark = pytest.mark.django_db

OPS = Attribution("ops", Origin.FILE)
ENVIRON = {"KEY_A": "sk-a-0123456789", "KEY_B": "sk-b-0123456789"}
KEYS = KeyReader(ENVIRON, Path())

#: YAML reads some of these as something else than text unless they are in quotes.
NAMES = ["gpu1", "gpu2", "inactive", "unassigned", "yes", "123", "1e3", "a/b (c)", "2024-01-01"]


def timeouts(first: float | None, idle: float | None, total: float | None) -> Timeouts:
    if first and total:
        first, total = min(first, total), max(first, total)
    return Timeouts(first_token_s=first, idle_s=idle, total_s=total)


def seconds(low: int, high: int) -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(low, high).map(lambda value: round(value, 2))


def fits_its_format(entry: DeploymentEntry) -> bool:
    try:
        SERVING_FORMATS[entry.serving_format].check_model_identifier(entry.model_identifier)
    except EndpointRefused:
        return False
    return True


endpoints = st.builds("http://10.0.{}.{}:8000/v1".format, st.integers(0, 255), st.integers(1, 254))
entries = st.builds(
    DeploymentEntry,
    name=st.sampled_from(NAMES),
    family=st.sampled_from([family.value for family in ModelFamily]),
    serving_format=st.sampled_from(sorted(SERVING_FORMATS)),
    endpoints=st.lists(endpoints, min_size=1, max_size=3, unique=True).map(tuple),
    model_identifier=st.sampled_from(["m", "123", "1.0"])
    | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1),
    api_key=st.none() | st.builds(KeyReference, env=st.sampled_from(sorted(ENVIRON))),
    context_tokens=st.none() | st.integers(256, 10_000_000),
    max_in_flight=st.none() | st.integers(1, 10_000),
    timeouts=st.builds(timeouts, seconds(5, 300), seconds(2, 120), seconds(5, 900)),
    is_active=st.booleans(),
).filter(fits_its_format)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    deployments = draw(st.lists(entries, max_size=3, unique_by=lambda entry: entry.name))
    features = {}
    for feature in draw(st.sets(st.sampled_from(Feature), max_size=4)):
        names = [
            entry.name
            for entry in deployments
            if support_level(feature, ModelFamily(entry.family)).is_selectable
        ]
        chosen = st.permutations(names).flatmap(
            lambda order: st.integers(0, len(order)).map(lambda count: tuple(order[:count]))
        )
        choice = draw(st.just(Choice(is_inactive=True)) | chosen.map(Choice))
        pin = draw(st.sampled_from(["", "^1.0.0"]))
        features[feature] = replace(choice, prompt_version=pin)
    return Document(tuple(deployments), features)


def break_name(document: Document) -> Document:
    return with_first(document, name="?")


def break_family(document: Document) -> Document:
    return with_first(document, family="gemma")


def break_endpoints(document: Document) -> Document:
    return with_first(document, endpoints=("http://169.254.169.254/v1",))


def break_key(document: Document) -> Document:
    return with_first(document, api_key=KeyReference(env="NOT_SET"))


def break_choice(document: Document) -> Document:
    return replace(document, features={**document.features, Feature.DUO_CHAT: Choice(("nobody",))})


def with_first(document: Document, **changes: Any) -> Document:
    first, *rest = document.deployments
    return replace(document, deployments=(replace(first, **changes), *rest))


def normalised(document: Document) -> dict[str, Any]:
    """Return what is stored of a document: keys have their fingerprints."""
    entries = tuple(
        replace(entry, api_key=replace(entry.api_key, stored=fingerprint(entry.api_key.env)))
        if entry.api_key
        else entry
        for entry in document.deployments
    )
    return Document(entries, document.features).to_data()


def fingerprint(name: str) -> str:
    return Secret(ENVIRON[name]).fingerprint(keyed_by=django_settings.SECRET_KEY)


def exported() -> bytes:
    return to_yaml(read_configuration().document()).encode()


@contextmanager
def taken_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


a_few = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@a_few
@given(before=documents(), wanted=documents())
def test_exported_document_is_the_applied_one(before: Document, wanted: Document) -> None:
    with taken_back():
        apply_document(before, OPS, KEYS, prune=True)

        apply_document(wanted, OPS, KEYS, prune=True)
        export = exported()

        assert parse_document(export).to_data() == normalised(wanted)
        for again in (parse_document(export), wanted):
            outcome = apply_document(again, OPS, KEYS, prune=True)
            assert (outcome.changes, outcome.revision) == ((), None)
        assert exported() == export


@a_few
@given(
    before=documents(),
    wanted=documents().filter(lambda document: document.deployments),
    breaks=st.sampled_from([break_name, break_family, break_endpoints, break_key, break_choice]),
    prune=st.booleans(),
)
def test_wrong_document_changes_nothing(
    before: Document, wanted: Document, breaks: Any, prune: bool
) -> None:
    with taken_back():
        apply_document(before, OPS, KEYS, prune=True)
        export, counts = exported(), (Revision.objects.count(), AuditRecord.objects.count())

        with pytest.raises(DocumentInvalid):
            apply_document(breaks(wanted), OPS, KEYS, prune=prune)

        assert exported() == export
        assert (Revision.objects.count(), AuditRecord.objects.count()) == counts
