"""What can go wrong with a model deployment, its servers, and the settings.

Nothing here knows a status code.
"""

#: The one word of an error that is looked for in any format: callers may ask again.
OVERLOADED = b"overloaded_error"


class SettingInvalid(ValueError):
    """A setting cannot be used. Raised by what reads it, told by checks, doctor and commands.

    Attributes:
        problem: What is wrong, with the name of the setting; nothing of a key or a password.
        remedy: What to write instead.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy


class DeploymentError(Exception):
    """Base of this app's errors; raise a leaf.

    Attributes:
        code: Stable word for logs, metrics and callers.
        safe_message: What happened, which hop, what to do; holds no secret and no upstream text.
        admin_message: The same for admins, who may also know how the network looks.
        retryable: Whether the same request may succeed elsewhere or later.
    """

    code = "deployment_error"
    retryable = False

    def __init__(self, safe_message: str, *, admin_message: str = "") -> None:
        super().__init__(safe_message)
        self.safe_message = safe_message
        self.admin_message = admin_message or safe_message


class SecretUnavailable(DeploymentError):
    """A stored secret cannot be read with the keys at hand. Nothing is sent upstream."""

    code = "secret_unavailable"


class EndpointRefused(DeploymentError):
    """The URL policy does not let us dial this address."""

    code = "endpoint_refused"


class UpstreamError(DeploymentError):
    """Base of what a model server did wrong; raise a leaf."""

    code = "upstream_error"


class UpstreamUnreachable(UpstreamError):
    """No byte of an answer came: refused, reset, TLS failure, unknown name."""

    code = "upstream_unreachable"
    retryable = True


class UpstreamNameUnknown(UpstreamUnreachable):
    """DNS does not know the host, or cannot be asked."""


class UpstreamTlsFailed(UpstreamUnreachable):
    """The certificate is not trusted or names another host, or the port speaks no TLS."""


class UpstreamTimeout(UpstreamError):
    """One of our clocks fired while we waited for the model server."""

    code = "upstream_timeout"


class UpstreamRejected(UpstreamError):
    """The model server answered with an error.

    Attributes:
        status: Its HTTP status; the one it is worth, where a 200 held the error.
        retry_after_s: What it asked for, if it did, clamped to 1 to 30 seconds.
        is_overloaded: Whether it said `overloaded_error`, the word on which Rails asks again.
    """

    code = "upstream_rejected"

    def __init__(
        self,
        safe_message: str,
        *,
        status: int,
        retry_after_s: int | None = None,
        is_overloaded: bool = False,
    ) -> None:
        super().__init__(safe_message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.is_overloaded = is_overloaded
        self.retryable = is_overloaded or status in {500, 502, 503, 504}


class UpstreamProtocolError(UpstreamError):
    """The answer is not what the serving format says: HTML, bad JSON, an oversized event."""

    code = "upstream_bad_response"


class UpstreamTruncated(UpstreamError):
    """The connection ended before the model said it was done."""

    code = "upstream_truncated"
