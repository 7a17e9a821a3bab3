"""How asking a server ended, in the few words that pages and commands show."""

from enum import StrEnum

from selfhosted_models.errors import (
    DeploymentError,
    EndpointRefused,
    SecretUnavailable,
    UpstreamNameUnknown,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamTlsFailed,
    UpstreamTruncated,
    UpstreamUnreachable,
)

#: Statuses by which a server refuses our key, or the lack of one.
KEY_REFUSED = frozenset({401, 403})
#: Statuses by which a server says that it has no such path.
NOT_OFFERED = frozenset({404, 405, 501})


class Outcome(StrEnum):
    """Stable words; what happened in full, and what to do, is the message beside them."""

    OK = "ok"
    DNS_FAILED = "dns_failed"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS_FAILED = "tls_failed"
    AUTH_FAILED = "auth_failed"
    UNKNOWN_FORMAT = "unknown_format"
    SERVER_ERROR = "server_error"
    BLOCKED = "blocked"


#: The most specific first.
_OUTCOMES: tuple[tuple[type[DeploymentError], Outcome], ...] = (
    (EndpointRefused, Outcome.BLOCKED),
    (SecretUnavailable, Outcome.AUTH_FAILED),
    (UpstreamNameUnknown, Outcome.DNS_FAILED),
    (UpstreamTlsFailed, Outcome.TLS_FAILED),
    (UpstreamUnreachable, Outcome.REFUSED),
    (UpstreamTimeout, Outcome.TIMEOUT),
    (UpstreamProtocolError, Outcome.UNKNOWN_FORMAT),
    (UpstreamTruncated, Outcome.SERVER_ERROR),
)
#: After one of these there is no use in asking the same server something else.
NO_ANSWER = (
    Outcome.BLOCKED,
    Outcome.DNS_FAILED,
    Outcome.TLS_FAILED,
    Outcome.REFUSED,
    Outcome.TIMEOUT,
)


def outcome_of(error: DeploymentError) -> Outcome:
    """Return the word for `error`."""
    if isinstance(error, UpstreamRejected):
        if error.status in KEY_REFUSED:
            return Outcome.AUTH_FAILED
        return Outcome.UNKNOWN_FORMAT if error.status in NOT_OFFERED else Outcome.SERVER_ERROR
    kinds = (outcome for kind, outcome in _OUTCOMES if isinstance(error, kind))
    return next(kinds, Outcome.SERVER_ERROR)
