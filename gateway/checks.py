"""System checks: what is wrong with the settings, by a stable id, before anything is served."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import django.conf
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from docsearch import signing
from docsearch.errors import KeyInvalid
from gateway.authentication.trusted_keys import issuer_sources, load_own_key
from gateway.configuration.node import configuration_endpoint_from_settings
from gateway.configuration.serving_exports import load_signing_key, trusted_keys_from_settings
from gateway.documentation.engine import docs_engine_from_settings
from gateway.documentation.local import require_encoder
from gateway.documentation.registry import docs_registry_endpoint_from_settings
from gateway.documentation.wanted_version import wanted_version
from gateway.feature_flags import read_disallowed_flags
from gateway.logs import LOG_LEVELS
from gateway.model_metadata import model_metadata_policy
from gateway.operations.key_rotation import lost_keys
from gateway.redis_address import redis_url_from_settings
from selfhosted_models.endpoints import UrlPolicy
from selfhosted_models.errors import SettingInvalid
from selfhosted_models.secrets import SecretBox
from selfhosted_models.transport import trusted_roots

settings = django.conf.settings
MIN_SECRET_KEY_CHARS = 50
#: Longest and default of times that may be 0.
LIMITS_S = {"QUEUE_MAX_WAIT_S": (30, 2), "DRAIN_S": (28, 25), "PROBE_SILENT_S": (3600, 30)}
POLL_BOUNDS_S = (0.1, 3600.0)


@register
def check_settings(**_: Any) -> list[CheckMessage]:
    """Run every check; each yields nothing if all is well."""
    return [message for check in _CHECKS for message in check()]


def _invalid(read: Callable[[], object], check_id: str) -> Iterator[CheckMessage]:
    """Yield what a setting's own reader has to complain about."""
    try:
        read()
    except SettingInvalid as error:
        yield Error(error.problem, hint=error.remedy, id=check_id)


def _check_ca_bundle() -> Iterator[CheckMessage]:
    yield from _invalid(trusted_roots, "gateway.E025")


def _check_encryption_keys() -> Iterator[CheckMessage]:
    if settings.ENCRYPTION_KEYS:  # else DATA_DIR could not keep one: told below
        yield from _invalid(lambda: SecretBox(settings.ENCRYPTION_KEYS), "gateway.E001")


def _check_issuers() -> Iterator[CheckMessage]:
    gitlab_url, further = settings.AIGW_GITLAB_URL, settings.GATEWAY_TRUSTED_ISSUERS
    yield from _invalid(lambda: issuer_sources(gitlab_url, []), "gateway.E002")
    yield from _invalid(lambda: issuer_sources("", further), "gateway.E003")
    if not gitlab_url and not further:
        yield Warning(
            "No GitLab instance is trusted: only tokens this gateway issues itself are accepted.",
            hint="Set AIGW_GITLAB_URL to the URL of your GitLab instance.",
            id="gateway.W001",
        )


def _check_model_metadata() -> Iterator[CheckMessage]:
    text = settings.GATEWAY_MODEL_METADATA
    yield from _invalid(lambda: model_metadata_policy(text), "gateway.E004")


def _check_feature_flags() -> Iterator[CheckMessage]:
    text = settings.AIGW_FEATURE_FLAGS__DISALLOWED_FLAGS
    yield from _invalid(lambda: read_disallowed_flags(text), "gateway.E015")


def _check_url_policy() -> Iterator[CheckMessage]:
    yield from _invalid(lambda: UrlPolicy(settings.UPSTREAM_ALLOWED_CIDRS), "gateway.E005")
    for host in settings.UPSTREAM_ALLOWED_HOSTS:
        if "/" in host or host.count(":") == 1:
            yield Error(
                f"UPSTREAM_ALLOWED_HOSTS: {host!r} is more than a host.",
                hint="Write names or addresses alone, without scheme and port: llm1,127.0.0.1.",
                id="gateway.E009",
            )


def _check_database() -> Iterator[CheckMessage]:
    if not settings.IS_DATABASE_URL_KNOWN:
        yield Error(
            "DATABASE_URL is not the URL of a database that is known.",
            hint="It is sqlite:///PATH or postgres://HOST:PORT/NAME, with user and password before "
            "the host; of these, what a URL cannot hold is written as %XX.",
            id="gateway.E013",
        )


def _check_refresh() -> Iterator[CheckMessage]:
    shortest_s, longest_s = POLL_BOUNDS_S
    if not shortest_s <= settings.CONFIGURATION_POLL_S <= longest_s:
        yield Error(
            f"CONFIGURATION_POLL_S is {settings.CONFIGURATION_POLL_S:g}.",
            hint=f"It is {shortest_s:g} to {longest_s:g} seconds; 2 is the default.",
            id="gateway.E010",
        )
    yield from _invalid(redis_url_from_settings, "gateway.E011")


def _check_limits() -> Iterator[CheckMessage]:
    least = {
        "GATEWAY_WORKERS": 1,
        "WORKER_MAX_IN_FLIGHT": 1,
        "USER_MAX_IN_FLIGHT": 0,
        "USER_REQUESTS_PER_MINUTE": 0,
        "QUEUE_SIZE": 0,
        "BREAKER_FAILURES": 0,
        "REST_REQUESTS_PER_MINUTE": 0,
        "EVALUATION_ANSWER_DAYS": 0,
        "DOCS_UNANSWERED_QUESTIONS": 0,
        "REQUEST_LOG_DAYS": 0,
        "REQUEST_LOG_MAX_ROWS": 1,
        "USAGE_DAYS": 1,
    }
    for name, low in least.items():
        if getattr(settings, name) < low:
            yield Error(
                f"{name} is not a number that makes sense here.",
                hint=f"It is a whole number, {low} or more; docs/settings.md says what it means.",
                id="gateway.E014",
            )
    if settings.FINGERPRINT_HOUR is not None and not 0 <= settings.FINGERPRINT_HOUR <= 23:
        yield Error(
            "FINGERPRINT_HOUR is not an hour of the day.",
            hint="It is 0 to 23, in UTC; empty: model servers are measured when somebody asks.",
            id="gateway.E026",
        )
    for name, (longest_s, default_s) in LIMITS_S.items():
        if not 0 <= getattr(settings, name) <= longest_s:
            yield Error(
                f"{name} is {getattr(settings, name):g}.",
                hint=f"It is 0 to {longest_s} seconds; {default_s} is the default.",
                id="gateway.E027",
            )


def _check_switches() -> Iterator[CheckMessage]:
    for name in ("DEBUG", "TOTP_REQUIRED", "SECURE_COOKIES", "DOCS_HYBRID"):
        setting = "DEBUG_SWITCH" if name == "DEBUG" else name
        if getattr(settings, setting) is None:
            yield Error(
                f"{name} is neither on nor off.",
                hint="Write 1 or 0 (also true, yes, on and false, no, off).",
                id="gateway.E016",
            )
    if settings.HSTS_S < 0:
        yield Error(
            "HSTS_S is not a number of seconds.",
            hint="It is a whole number; 0 sends no Strict-Transport-Security header.",
            id="gateway.E028",
        )


def _check_log_level() -> Iterator[CheckMessage]:
    if settings.LOG_LEVEL not in LOG_LEVELS:
        yield Error(
            f"LOG_LEVEL is {settings.LOG_LEVEL!r}.",
            hint=f"It is one of: {', '.join(LOG_LEVELS)}.",
            id="gateway.E012",
        )


def _check_own_keys() -> Iterator[CheckMessage]:
    for purpose in ("SIGNING", "VALIDATION"):
        if pem := getattr(settings, f"AIGW_SELF_SIGNED_JWT__{purpose}_KEY"):
            yield from _invalid(partial(load_own_key, purpose, pem), "gateway.E006")


def _check_serving_config_key() -> Iterator[CheckMessage]:
    if pem := settings.SERVING_CONFIG_SIGNING_KEY:
        yield from _invalid(lambda: load_signing_key(pem), "gateway.E020")


def _check_gitlab_version() -> Iterator[CheckMessage]:
    yield from _invalid(wanted_version, "gateway.E018")


def _check_serving_config_place() -> Iterator[CheckMessage]:
    url = settings.SERVING_CONFIG_URL
    yield from _invalid(configuration_endpoint_from_settings, "gateway.E021")
    if url and not settings.SERVING_CONFIG_TOKEN:
        yield Error(
            "SERVING_CONFIG_URL is set, and SERVING_CONFIG_TOKEN is not.",
            hint="On the configuration node run: manage.py create_api_token NAME "
            "--scopes read_serving_config",
            id="gateway.E022",
        )
    if settings.SERVING_CONFIG_TRUSTED_KEYS:
        yield from _invalid(trusted_keys_from_settings, "gateway.E023")
    if url and "ENCRYPTION_KEYS" not in os.environ:
        yield Warning(
            "ENCRYPTION_KEYS is not set: this node can decrypt no key of a model server.",
            hint="Set ENCRYPTION_KEYS to that of the configuration node. One that was made there "
            "is in its DATA_DIR/encryption_key.",
            id="gateway.W002",
        )


def _check_docs_registry() -> Iterator[CheckMessage]:
    yield from _invalid(docs_registry_endpoint_from_settings, "gateway.E029")
    yield from _invalid(docs_engine_from_settings, "gateway.E019")
    yield from _invalid(require_encoder, "gateway.E030")
    if settings.DOCS_HYBRID and settings.DOCS_SEARCH_URL:
        yield Warning(
            "DOCS_HYBRID counts for nothing: the search engine of DOCS_SEARCH_URL answers.",
            hint="Unset one of the two.",
            id="gateway.W004",
        )
    for read in (
        lambda: settings.DOCS_SIGNING_KEY and signing.load_signing_key(settings.DOCS_SIGNING_KEY),
        lambda: signing.load_trusted_keys(settings.DOCS_TRUSTED_KEYS),
    ):
        try:
            read()
        except KeyInvalid as error:
            yield Error(
                str(error),
                hint="Leave both unset on a single node: a key is made once and kept in DATA_DIR.",
                id="gateway.E017",
            )


def _check_data_dir() -> Iterator[CheckMessage]:
    for problem in settings.DATA_DIR_PROBLEMS:
        yield Error(
            f"DATA_DIR: {problem}",
            hint="Set DATA_DIR to a folder this user may write; all that is in it belongs to the "
            "user that the gateway runs as.",
            id="gateway.E024",
        )
    for name in (
        "secret_key",
        "encryption_key",
        "signing_key.pem",
        "docs_signing_key.pem",
    ):
        path = settings.DATA_DIR / name
        if path.is_file() and path.stat().st_mode & 0o077:
            yield Error(
                f"{path} can be read by others.",
                hint=f"Run: chmod 600 {path}",
                id="gateway.E007",
            )


@register(Tags.database)
def check_stored_keys(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether every stored key still opens: `migrate`, and so every start, looks."""
    if not databases:
        return []
    try:
        lost = lost_keys(SecretBox(settings.ENCRYPTION_KEYS))
    except SettingInvalid:  # the check of the setting tells
        return []
    except DatabaseError:  # before the first migration there is nothing to open
        return []
    if not lost:
        return []
    return [
        Error(
            f"None of ENCRYPTION_KEYS opens the key of: {', '.join(lost)}.",
            hint="Put back the key that was retired, run: manage.py rotate_keys, and retire it "
            "then. If it is lost, docs/operations.md (Rotate the keys at rest) says how to go on.",
            id="gateway.E031",
        )
    ]


@register(Tags.security, deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """What is good enough to try the product and not to run it."""
    try:
        if len(settings.SECRET_KEY) >= MIN_SECRET_KEY_CHARS:
            return []
    except ImproperlyConfigured:  # none could be kept: told of DATA_DIR
        return []
    return [
        Error(
            f"SECRET_KEY is shorter than {MIN_SECRET_KEY_CHARS} characters.",
            hint="Unset it: a good one is made once and kept in DATA_DIR.",
            id="gateway.E008",
        )
    ]


_CHECKS = (
    _check_encryption_keys,
    _check_issuers,
    _check_model_metadata,
    _check_feature_flags,
    _check_url_policy,
    _check_ca_bundle,
    _check_database,
    _check_refresh,
    _check_limits,
    _check_switches,
    _check_log_level,
    _check_own_keys,
    _check_serving_config_key,
    _check_gitlab_version,
    _check_serving_config_place,
    _check_docs_registry,
    _check_data_dir,
)
