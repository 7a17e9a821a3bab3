"""Checks of this machine: settings, keys, disk, permissions, the documentation index."""

import logging
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from django.core.checks import ERROR, WARNING

from docsearch.errors import DocsIndexError, VersionInvalid
from docsearch.signing import public_text
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from gateway.checks import check_deployment, check_settings
from gateway.configuration.serving_exports import key_id_of, signing_key_from_settings
from gateway.doctor.findings import State, Told, failed, ok, skipped, warning
from gateway.doctor.patient import Patient
from gateway.documentation.engine import DocsEnginePlace, docs_engine_from_settings, open_engine
from gateway.documentation.local import local_backend
from gateway.runtime import own_keys_from_settings, own_signing_key_path
from selfhosted_models.errors import SettingInvalid
from selfhosted_models.secrets import SecretBox

FREE_BYTES = 2 * 1024**3
LEAST_FREE_BYTES = 200 * 1024**2
#: What nobody else may read; folders among them are looked through.
_PRIVATE = ("db.sqlite3", "serving_config.json", "issuer_keys")
_NOT_MADE = "not made yet: the gateway makes it when it first starts"
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def check_all_settings(patient: Patient) -> Iterator[Told]:
    problems = [*check_settings(), *check_deployment()]
    level = patient.settings.LOG_LEVEL
    for problem in problems:
        if problem.level >= ERROR:
            yield failed(f"setting ({problem.id})", str(problem.msg), problem.hint or "")
        elif problem.level >= WARNING:
            yield warning(f"setting ({problem.id})", str(problem.msg), problem.hint or "")
    if not problems:
        yield ok("settings", f"make sense; DATA_DIR is {patient.settings.DATA_DIR}")
    if logging.getLevelNamesMapping().get(level, 0) > logging.INFO:
        yield warning(
            "log level",
            f"LOG_LEVEL is {level}: requests that ended are not in the log",
            "Set LOG_LEVEL to INFO.",
        )
    machine = f"Python {platform.python_version()} on {platform.machine()}"
    yield ok("machine", f"{machine}; log level {level}")


def check_own_keys(patient: Patient) -> Iterator[Told]:
    """Whether what signs and encrypts here can be loaded; a key that is missing stays so."""
    settings = patient.settings
    kept_at = own_signing_key_path()
    if settings.AIGW_SELF_SIGNED_JWT__SIGNING_KEY or kept_at.exists():
        yield _loaded(
            "key of the tokens issued here",
            own_keys_from_settings,
            "Without it no token can be issued: give the whole PEM text in "
            f"AIGW_SELF_SIGNED_JWT__SIGNING_KEY, or unset it; if {kept_at} is damaged, remove it, "
            "and the gateway makes another when it starts.",
        )
    else:
        yield skipped("key of the tokens issued here", _NOT_MADE)
    if not settings.ENCRYPTION_KEYS:
        told = settings.DATA_DIR_PROBLEMS and "there is none (see the settings above)"
        yield skipped("ENCRYPTION_KEYS", told or _NOT_MADE)
        return
    told = _loaded(
        "ENCRYPTION_KEYS",
        lambda: SecretBox(settings.ENCRYPTION_KEYS),
        "Without them no key of a model server opens: see the row of the settings above.",
    )
    if told.state is State.OK:
        count = len(settings.ENCRYPTION_KEYS)
        told = ok("ENCRYPTION_KEYS", f"{count} {'key' if count == 1 else 'keys'}, newest first")
    yield told
    name = "key of the serving configuration"
    told = _loaded(
        name,
        signing_key_from_settings,
        "Without it no gateway node takes a new configuration: give the whole PEM text in "
        "SERVING_CONFIG_SIGNING_KEY, or unset it, and one is derived from ENCRYPTION_KEYS.",
    )
    if told.state is State.OK:
        key = signing_key_from_settings().public_key()
        public = f"SERVING_CONFIG_TRUSTED_KEYS of gateway nodes: {public_text(key)}"
        told = ok(name, f"{key_id_of(key)}; {public}")
    yield told


def _loaded(name: str, load: Callable[[], object], remedy: str) -> Told:
    try:
        load()
    except SettingInvalid as error:
        return failed(name, error.problem.removeprefix(f"{name}: "), remedy)
    return ok(name, "can be loaded")


def check_disk(patient: Patient) -> Iterator[Told]:
    for name, folder in (
        ("DATA_DIR", patient.settings.DATA_DIR),
        ("folder for temporary files", Path(tempfile.gettempdir())),
    ):
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
            free_bytes = patient.free_bytes(Path(folder))
        except OSError as error:
            yield failed(
                name,
                f"{folder} cannot be written: {error.strerror}",
                "Free space, or mount a writable folder there (an emptyDir in a container).",
            )
            continue
        evidence = f"{folder}: {free_bytes / 1024**3:.1f} GiB free"
        if free_bytes < LEAST_FREE_BYTES:
            yield failed(name, evidence, "Free space: nothing can be stored soon.")
        elif free_bytes < FREE_BYTES:
            yield warning(name, evidence, "Free space before it is used up.")
        else:
            yield ok(name, evidence)


def check_permissions(patient: Patient) -> Iterator[Told]:
    data_dir = Path(patient.settings.DATA_DIR)
    found = [data_dir / name for name in _PRIVATE]
    files = [path for place in found for path in (place, *place.glob("*")) if path.is_file()]
    open_files = [path for path in files if path.stat().st_mode & 0o077]
    for path in open_files:
        yield failed(str(path), "can be read by others", f"Run: chmod 600 {path}")
    strange = [path for path in files if path.stat().st_uid != patient.user_id]
    for path in strange:
        yield failed(
            str(path),
            f"belongs to user {path.stat().st_uid}, and this is user {patient.user_id}",
            f"Run the gateway and its commands as one user; chown {path}",
        )
    if not open_files and not strange:
        yield ok("files in DATA_DIR", f"{len(files)} are their owner's alone")


def check_proxy(patient: Patient) -> Iterator[Told]:
    """The way out takes no proxy: one that is set is a sign that somebody expects otherwise."""
    found = [name for name in _PROXY_VARIABLES if name in os.environ or name.lower() in os.environ]
    if found:
        yield warning(
            "proxy of the environment",
            f"{', '.join(found)} is set, and never used: a proxy must not see prompts",
            "Open the direct way to GitLab and the model servers, or unset it.",
        )
    else:
        yield ok("proxy of the environment", "none is set; none would be used")
    trusted = os.environ.get("FORWARDED_ALLOW_IPS", "")
    if trusted == "*":
        yield warning(
            "proxy in front",
            "FORWARDED_ALLOW_IPS is *: any caller may say where it comes from",
            "Name the addresses of your proxies.",
        )
    else:
        yield ok("proxy in front", f"believed from {trusted or 'this machine'} only")


def check_docs_index(patient: Patient) -> Iterator[Told]:
    """What is searched: the engine of DOCS_SEARCH_URL, which is asked, or an index of this node."""
    if place := docs_engine_from_settings():
        yield _search_engine(patient, place)
    else:
        yield from _installed_index(patient)


def _search_engine(patient: Patient, place: DocsEnginePlace) -> Told:
    name = f"search engine at {place.endpoint.url}"
    if not patient.addresses_of(place.endpoint.host):
        return failed(
            name, "its name does not resolve", "Correct DOCS_SEARCH_URL, or the name in DNS."
        )
    patient.on_wait(f"the {name}")
    try:
        with open_engine(place, patient.patience.server) as engine:
            versions = [str(version) for version in engine.digests()]
    except DocsIndexError as error:
        return failed(name, str(error), "Until it answers, no question about GitLab is answered.")
    if not versions:
        return failed(name, "answers, and holds no documentation", "Run: manage.py load_docs_index")
    return ok(name, f"answers, with the documentation of GitLab {', '.join(versions)}")


def _installed_index(patient: Patient) -> Iterator[Told]:
    store = IndexStore.below(patient.settings.DATA_DIR)
    text = patient.settings.GITLAB_VERSION
    build = "build_docs_index SRC --gitlab-version V --install"
    try:
        installed = store.installed()
        if not installed and not text and not patient.settings.DOCS_REGISTRY_URL:
            yield skipped("documentation index", f"none is installed; to have one: {build}")
            return
        index, choice = store.open(GitLabVersion.parse(text) if text else None)
        backend = local_backend(store, is_hybrid=bool(patient.settings.DOCS_HYBRID))
    except (DocsIndexError, VersionInvalid) as error:
        remedy = f"Run: manage.py install_docs_index --from-registry, or {build}"
        yield failed("documentation index", str(error), remedy)
        return
    finally:
        store.close()
    searched = ", searched by words and meaning" if backend.meaning else ""
    told = f"GitLab {choice.version}, {index.facts.section_count} sections{searched}"
    if choice.warning:
        yield warning("documentation index", choice.warning, f"Install that of {text}.")
    elif backend.meaning and (obstacle := backend.meaning.obstacle(index.facts)):
        yield warning("documentation index", obstacle, "Until then words alone count.")
    else:
        yield ok("documentation index", told)
