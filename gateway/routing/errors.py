"""Why a deployment is not asked although it is there."""

import math

from selfhosted_models.errors import DeploymentError

_RETRY_AFTER_BOUNDS_S = (1, 5)
_LONGEST_RETRY_AFTER_S = 30


class DeploymentBusy(DeploymentError):
    """All its slots are taken, and a place in the line would not help.

    Attributes:
        retry_after_s: When it is worth asking again; 1 to 5 seconds.
    """

    code = "deployment_busy"
    retryable = True

    def __init__(self, deployment: str, expected_wait_s: float, limit: str) -> None:
        super().__init__(
            f"{deployment} is busy: it has as many requests at once as it may, and {limit}. Ask "
            "again in a moment; if this happens often, it needs another endpoint or a higher limit."
        )
        low, high = _RETRY_AFTER_BOUNDS_S
        self.retry_after_s = max(low, min(math.ceil(expected_wait_s), high))


class DeadlinePassed(DeploymentError):
    """The time the caller gave us (`X-Request-Deadline-Ms`) was over before a server was asked."""

    code = "deadline_passed"

    def __init__(self) -> None:
        super().__init__("The time for an answer was over before a server could be asked.")


class CircuitOpen(DeploymentError):
    """Its servers failed so often that they are left alone for a while.

    Attributes:
        retry_after_s: When the next trial is due; 1 to 30 seconds.
    """

    code = "circuit_open"
    retryable = True

    def __init__(self, deployment: str, opens_in_s: float) -> None:
        super().__init__(
            f"The model server of {deployment} failed repeatedly, so it is left alone for some "
            "seconds: see its own log, and its state in the admin."
        )
        self.retry_after_s = max(1, min(math.ceil(opens_in_s), _LONGEST_RETRY_AFTER_S))


class ServerStopping(DeploymentError):
    """This worker is being stopped, and the time for requests to end is over."""

    code = "server_shutting_down"
    retryable = True

    def __init__(self) -> None:
        super().__init__("The gateway is being restarted: ask again in a moment.")


class WorkerBusy(DeploymentError):
    """This worker serves as many requests as it may."""

    code = "worker_busy"
    retryable = True

    def __init__(self) -> None:
        super().__init__(
            "The gateway is serving as many requests as it may: ask again in a moment. If this "
            "happens often, start more workers."
        )


class QuotaExceeded(DeploymentError):
    """One user asks for more than one user may.

    Attributes:
        retry_after_s: When the next request is let through; 1 to 60 seconds.
    """

    code = "user_quota_exceeded"
    retryable = True

    def __init__(self, limit: str, *, retry_after_s: int) -> None:
        super().__init__(f"One user may make {limit} here: wait {retry_after_s} s.")
        self.retry_after_s = retry_after_s
