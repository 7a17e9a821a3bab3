"""What somebody who helps from afar needs to see, without a secret and without what users said.

Every part is masked, then looked through once more; a bundle in which something is found is not
written. A part that cannot be made, because the database is down for instance, says why instead.
"""

import hashlib
import io
import os
import platform
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from importlib import import_module, metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

import django.conf
import orjson
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Count, Max

from docsearch.models import UnansweredQuestion
from docsearch.store import IndexStore
from feature_config.catalogue import FEATURES, Feature
from gateway.authentication.verifier import Caller
from gateway.configuration.exporting import to_yaml
from gateway.configuration.node import configuration_of_this_node
from gateway.configuration.sources import ConfigurationUnreadable
from gateway.doctor.checkup import examine
from gateway.doctor.patient import Patient
from gateway.explain import explain
from gateway.models import LoggedRequest, Revision
from gateway.operations.known_secrets import KnownSecrets
from gateway.probes.endpoint_news import stored_news
from gateway.snapshot import build_snapshot
from prompts.loader import shipped_prompts
from prompts.models import EvaluationResult
from selfhosted_models.errors import DeploymentError, SettingInvalid
from selfhosted_models.models import EndpointHealthChange
from selfhosted_models.secrets import SecretBox

#: How far back errors are counted.
ERRORS_OF = timedelta(days=1)
_MOST_ROWS = 200
#: What users said is looked for in pieces of so many characters; shorter texts are too common.
_CONTENT_CHARS = 24
_MOST_TEXTS = 2000
_WORD = re.compile(r"\w+")
_ESCAPE = re.compile(r"\\[nrt]")
#: What says that there is no database, or none that can be asked now.
_NO_DATABASE = (DatabaseError, InterfaceError, ImproperlyConfigured)


class BundleRefused(Exception):
    """A part holds what must not leave; the message names the part, never what was found."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a bundle.

    Attributes:
        about: What is in it, for the manifest.
    """

    name: str
    about: str
    text: str


def make_bundle(now: datetime, on_part: Callable[[str], None] = lambda name: None) -> bytes:
    """Return a zip file with a manifest and every part.

    Args:
        now: UTC.
        on_part: Told the name of each part before it is made.

    Raises:
        BundleRefused: A secret, or a text of a user, would be in it.
    """
    known = KnownSecrets.of_settings(django.conf.settings, _stored_keys())
    texts = tuple(_stored_texts())
    parts = []
    for name, (about, make) in PARTS.items():
        on_part(name)
        text = known.masked(_made(make, now))
        words = _words_of(text)
        if known.holds(text) or any(piece in words for piece in texts):
            raise BundleRefused(
                f"{name} would hold a secret, or what a user said: nothing was written. Please "
                "report it."
            )
        parts.append(Part(name, about, text))
    return _packed(parts, now)


def write_bundle(path: Path, bundle: bytes) -> None:
    """Write a bundle where nothing is yet, readable by the owner alone.

    Raises:
        OSError: It cannot be written, or something is there.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(bundle)


def _made(make: Callable[[datetime], Any], now: datetime) -> str:
    try:
        made = make(now)
    except (DatabaseError, InterfaceError) as error:
        made = {"not_available": f"the database cannot be used ({type(error).__name__})"}
    except (ImproperlyConfigured, SettingInvalid, ConfigurationUnreadable) as error:
        made = {"not_available": str(error)}
    except Exception as error:  # noqa: BLE001 - one part that fails must not cost the others
        made = {"not_available": type(error).__name__}
    if isinstance(made, str):
        return made
    return orjson.dumps(made, default=str, option=orjson.OPT_INDENT_2).decode() + "\n"


def _packed(parts: list[Part], now: datetime) -> bytes:
    lines = [
        "# Support bundle",
        "",
        f"Made {now:%Y-%m-%d %H:%M:%S} UTC. API keys, tokens, passwords and private keys are "
        "masked as ***; prompts, answers and questions of users are not in it. Look through the "
        "files before you pass them on: names of your hosts and deployments are in them.",
        "",
        "| File | Bytes | SHA-256 | What |",
        "|---|---|---|---|",
    ]
    for part in parts:
        data = part.text.encode()
        digest = hashlib.sha256(data).hexdigest()
        lines.append(f"| {part.name} | {len(data)} | {digest} | {part.about} |")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("MANIFEST.md", "\n".join(lines) + "\n")
        for part in parts:
            archive.writestr(part.name, part.text)
    return file.getvalue()


# --- What must not be in it -----------------------------------------------------------------------


def _stored_keys() -> Iterator[str]:
    """Yield the keys of model servers that open here."""
    try:
        box = SecretBox(django.conf.settings.ENCRYPTION_KEYS)
        deployments = configuration_of_this_node().deployments
    except (*_NO_DATABASE, SettingInvalid, ConfigurationUnreadable):
        return
    for row in deployments:
        try:
            key = row.decrypt_api_key(box)
        except DeploymentError:
            continue
        if key is not None:
            yield key.reveal()


def _stored_texts() -> Iterator[str]:
    """Yield the beginnings of what users said and models answered, as far as any is kept."""
    try:
        questions = UnansweredQuestion.objects.values_list("question", flat=True)
        answers = EvaluationResult.objects.exclude(answer="").values_list("answer", flat=True)
        for text in (*questions[:_MOST_TEXTS], *answers[:_MOST_TEXTS]):
            if len(words := _words_of(text)) >= _CONTENT_CHARS:
                yield words[:_CONTENT_CHARS]
    except _NO_DATABASE:
        return


def _words_of(text: str) -> str:
    """Return the words of a text alone: JSON and YAML each quote and fold it in their own ways."""
    return " ".join(_WORD.findall(_ESCAPE.sub(" ", text)))


# --- The parts ------------------------------------------------------------------------------------


def _configuration(_: datetime) -> str:
    """Keys are in a document as fingerprints or references, never as themselves."""
    return to_yaml(configuration_of_this_node().document())


def _settings(_: datetime) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    module = import_module(django.conf.settings.SETTINGS_MODULE)
    for name, value in sorted(vars(module).items()):
        if name.isupper() and isinstance(value, str | int | float | bool | list | Path):
            shown[name] = str(value) if isinstance(value, Path) else value
    shown["set in the environment"] = sorted(name for name in os.environ if name in shown)
    return shown


def _findings(_: datetime) -> list[dict[str, Any]]:
    return [asdict(finding) for finding in examine(Patient())]


def _explanations(_: datetime) -> dict[str, Any]:
    box = SecretBox(django.conf.settings.ENCRYPTION_KEYS)
    snapshot = build_snapshot(configuration_of_this_node(), shipped_prompts().registry, box)
    news = stored_news()
    told = {}
    for feature in Feature:
        caller = Caller("somebody", frozenset({FEATURES[feature].unit_primitive}), False)
        found = explain(feature, caller, snapshot, news)
        told[str(feature)] = {
            "answered": found.is_open,
            "gates": {gate.name: gate.detail for gate in found.gates},
            "way": [asdict(stop) for stop in found.way],
            "remedy": found.remedy,
        }
    return told


def _states(_: datetime) -> dict[str, Any]:
    changes = EndpointHealthChange.objects.order_by("-at").values(
        "deployment__name", "url", "state", "reason", "at"
    )
    return {
        "now": [asdict(news) for news in stored_news().values()],
        "changes": list(changes[:_MOST_ROWS]),
    }


def _errors(now: datetime) -> list[Any]:
    recent = LoggedRequest.objects.filter(ended_at__gte=now - ERRORS_OF).exclude(outcome="ok")
    counts = recent.values("outcome", "hop", "reason", "feature", "deployment", "status").annotate(
        times=Count("id"), last_at=Max("ended_at")
    )
    return list(counts.order_by("-times")[:_MOST_ROWS])


def _revisions(_: datetime) -> list[dict[str, Any]]:
    rows = Revision.objects.order_by("-number").values("number", "digest", "origin", "created_at")
    return list(rows[:_MOST_ROWS])


def _documentation(_: datetime) -> list[dict[str, Any]]:
    store = IndexStore.below(django.conf.settings.DATA_DIR)
    found = []
    for version in store.installed():
        manifest = store.manifest_of(version)
        facts = {"sha256": manifest.sha256, "created": manifest.created} if manifest else {}
        found.append({"gitlab_version": str(version), **facts})
    return found


def _versions(_: datetime) -> dict[str, Any]:
    packages = {item.metadata["Name"]: item.version for item in metadata.distributions()}
    try:
        with connection.cursor() as cursor:
            is_postgres = connection.vendor == "postgresql"
            cursor.execute("SHOW server_version" if is_postgres else "SELECT sqlite_version()")
            database = f"{connection.vendor} {cursor.fetchone()[0]}"
    except _NO_DATABASE as error:
        database = f"{connection.vendor}: {type(error).__name__}"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "database": database,
        "prompts": len(shipped_prompts().registry),
        "packages": dict(sorted(packages.items())),
    }


#: By file name: what it is, and what makes it.
PARTS: Mapping[str, tuple[str, Callable[[datetime], Any]]] = MappingProxyType(
    {
        "doctor.json": ("what `doctor` found", _findings),
        "configuration.yml": ("the configuration, keys as fingerprints", _configuration),
        "revisions.json": ("when it changed, and how", _revisions),
        "settings.json": ("the settings, secrets masked", _settings),
        "explanations.json": ("what would answer each feature, or why nothing", _explanations),
        "states.json": ("the endpoints now, and how they changed", _states),
        "errors.json": ("requests of the last day that were not answered, counted", _errors),
        "documentation.json": ("the installed documentation indexes", _documentation),
        "versions.json": ("of Python, packages, database and platform", _versions),
    }
)
