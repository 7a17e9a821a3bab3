"""Checks of this machine: settings, keys, disk, permissions, the documentation index."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cryptography.fernet import Fernet
from django.core.checks import ERROR, WARNING

from docsearch.errors import DocsIndexError, VersionInvalid
from docsearch.store import IndexStore
from docsearch.versions import GitLabVersion
from gateway.checks import check_deployment, check_settings
from gateway.configuration.serving_exports import signing_key_from_settings
from gateway.doctor.findings import Told, failed, ok, skipped, warning
from gateway.doctor.patient import Patient
from gateway.runtime import own_keys_from_settings

FREE_BYTES = 2 * 1024**3
LEAST_FREE_BYTES = 200 * 1024**2
#: What nobody else may read; folders among them are looked through.
_PRIVATE = ("db.sqlite3", "serving_config.json", "issuer_keys")
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def check_all_settings(patient: Patient) -> Iterator[Told]:
    problems = [*check_settings(), *check_deployment()]
    for problem in problems:
        if problem.level >= ERROR:
            yield failed(f"setting ({problem.id})", str(problem.msg), problem.hint or "")
        elif problem.level >= WARNING:
            yield warning(f"setting ({problem.id})", str(problem.msg), problem.hint or "")
    if not problems:
        yield ok("settings", f"make sense; DATA_DIR is {patient.settings.DATA_DIR}")
    machine = f"Python {platform.python_version()} on {platform.machine()}"
    yield ok("machine", f"{machine}; log level {patient.settings.LOG_LEVEL}")


def check_own_keys(patient: Patient) -> Iterator[Told]:
    """Whether what signs and encrypts here can be loaded."""
    try:
        for key in patient.settings.ENCRYPTION_KEYS:
            Fernet(key)
    except ValueError:
        yield failed(
            "ENCRYPTION_KEYS", "a key is not a Fernet key", "See the row of the settings above."
        )
    else:
        count = len(patient.settings.ENCRYPTION_KEYS)
        yield ok("ENCRYPTION_KEYS", f"{count} {'key' if count == 1 else 'keys'}, newest first")
    for name, load in (
        ("key of the tokens issued here", own_keys_from_settings),
        ("key of the serving configuration", signing_key_from_settings),
    ):
        try:
            load()
        except (ValueError, OSError) as error:
            yield failed(
                name,
                f"cannot be loaded ({type(error).__name__})",
                "Without it no token can be issued: give the whole PEM text, or unset the variable "
                "and remove the file in DATA_DIR; a key is made once then.",
            )
        else:
            yield ok(name, "can be loaded")


def check_disk(patient: Patient) -> Iterator[Told]:
    for name, folder in (
        ("DATA_DIR", patient.settings.DATA_DIR),
        ("folder for temporary files", Path(tempfile.gettempdir())),
    ):
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
            free_bytes = shutil.disk_usage(folder).free
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
    unreadable = [path for path in files if not os.access(path, os.R_OK | os.W_OK)]
    for path in unreadable:
        yield failed(
            str(path),
            "belongs to another user",
            f"Run the gateway and its commands as one user; chown {path}",
        )
    if not open_files and not unreadable:
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
    store = IndexStore.below(patient.settings.DATA_DIR)
    text = patient.settings.GITLAB_VERSION
    build = "build_docs_index SRC --gitlab-version V --install"
    try:
        installed = store.installed()
        if not installed and not text and not patient.settings.DOCS_REGISTRY_URL:
            yield skipped("documentation index", f"none is installed; to have one: {build}")
            return
        index, choice = store.open(GitLabVersion.parse(text) if text else None)
    except (DocsIndexError, VersionInvalid) as error:
        remedy = f"Run: manage.py install_docs_index --from-registry, or {build}"
        yield failed("documentation index", str(error), remedy)
        return
    finally:
        store.close()
    told = f"GitLab {choice.version}, {index.facts.section_count} sections"
    if choice.warning:
        yield warning("documentation index", choice.warning, f"Install that of {text}.")
    else:
        yield ok("documentation index", told)
