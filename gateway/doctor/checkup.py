"""The checks, in the order of the hops, and what carries them out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

import structlog
from django.db import DatabaseError, InterfaceError

from gateway.doctor import local, network, stores
from gateway.doctor.findings import Finding, State, Told, failed, skipped
from gateway.doctor.patient import Patient
from gateway.operations.known_secrets import KnownSecrets
from selfhosted_models.errors import SettingInvalid

log = structlog.get_logger(__name__)

Check = Callable[[Patient], Iterable[Told]]

#: By stable id. What comes later may use what came before: nothing dials a name that has none.
CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "settings": local.check_all_settings,
        "database": stores.check_database,
        "migrations": stores.check_migrations,
        "configuration": stores.check_configuration,
        "redis": stores.check_redis,
        "worker": stores.check_worker,
        "names": network.check_names,
        "clock": network.check_clock,
        "keys": local.check_own_keys,
        "encryption": stores.check_encryption,
        "issuers": network.check_issuers,
        "tls": network.check_certificates,
        "proxy": local.check_proxy,
        "model_servers": network.check_model_servers,
        "features": stores.check_features,
        "docs_index": local.check_docs_index,
        "disk": local.check_disk,
        "permissions": local.check_permissions,
        "egress": network.check_egress,
        "gateway": network.check_gateway,
    }
)


_ONCE_MORE = "See the database above, and run doctor once more."


def examine(patient: Patient, checks: Mapping[str, Check] = CHECKS) -> Iterator[Finding]:
    """Carry out every check and yield what it finds as it comes; no secret is in it.

    A check that fails in a way nobody foresaw is a finding of its own, and the next goes on.
    """
    known = KnownSecrets.of_settings(patient.settings)
    for name, check in checks.items():
        try:
            for told in check(patient):
                yield _finding(name, told, known)
        except SettingInvalid as error:
            told = skipped(name, f"a setting is wrong (see the settings above): {error.problem}")
            yield _finding(name, told, known)
        except (DatabaseError, InterfaceError) as error:
            told = failed(name, f"the database went away ({type(error).__name__})", _ONCE_MORE)
            yield _finding(name, told, known)
        except Exception as error:  # noqa: BLE001 - the next check must not suffer
            log.debug("doctor.check_failed", check=name, error=type(error).__name__)
            remedy = "This is a bug of doctor, or a failure it does not know: please report it."
            yield _finding(name, failed(name, f"ended with {type(error).__name__}", remedy), known)


def is_healthy(findings: Iterable[Finding]) -> bool:
    return not any(finding.state is State.FAILED for finding in findings)


def _finding(check: str, told: Told, known: KnownSecrets) -> Finding:
    return Finding(
        check=check,
        subject=known.masked(told.subject),
        state=told.state,
        evidence=known.masked(told.evidence),
        remedy=known.masked(told.remedy),
    )
