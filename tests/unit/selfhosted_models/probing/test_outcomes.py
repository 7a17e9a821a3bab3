import pytest

from selfhosted_models import errors
from selfhosted_models.errors import DeploymentError, UpstreamRejected
from selfhosted_models.probing.outcomes import Outcome, outcome_of


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (errors.EndpointRefused("no"), "blocked"),
        (errors.SecretUnavailable("no"), "auth_failed"),
        (errors.UpstreamNameUnknown("no"), "dns_failed"),
        (errors.UpstreamTlsFailed("no"), "tls_failed"),
        (errors.UpstreamUnreachable("no"), "refused"),
        (errors.UpstreamTimeout("no"), "timeout"),
        (errors.UpstreamProtocolError("no"), "unknown_format"),
        (errors.UpstreamTruncated("no"), "server_error"),
        (UpstreamRejected("no", status=401), "auth_failed"),
        (UpstreamRejected("no", status=403), "auth_failed"),
        (UpstreamRejected("no", status=404), "unknown_format"),
        (UpstreamRejected("no", status=429), "server_error"),
        (UpstreamRejected("no", status=500), "server_error"),
    ],
)
def test_every_error_has_a_word(error: DeploymentError, outcome: str) -> None:
    assert outcome_of(error) is Outcome(outcome)
