"""The read-only snapshot of a deployment that requests are served from."""

from dataclasses import dataclass, replace

from selfhosted_models.endpoints import Endpoint
from selfhosted_models.families import ModelFamily
from selfhosted_models.secrets import Secret


@dataclass(frozen=True, slots=True)
class Clocks:
    """How long each step of one upstream call may take, in seconds.

    Attributes:
        connect_s: TCP and TLS.
        first_token_s: From sending the request to its first event (or, not streaming, its headers).
        idle_s: Between two events; bytes of an unfinished event do not count.
        total_s: The whole call.
    """

    connect_s: float
    first_token_s: float
    idle_s: float
    total_s: float


#: Of one endpoint, where the admin sets no limit for the deployment.
DEFAULT_MAX_IN_FLIGHT = 64

#: Code completion: a suggestion that arrives later helps nobody.
COMPLETION_CLOCKS = Clocks(connect_s=2, first_token_s=5, idle_s=5, total_s=30)
#: Everything else: the prefill of a long prompt legitimately takes a while.
CHAT_CLOCKS = Clocks(connect_s=3, first_token_s=60, idle_s=30, total_s=300)


@dataclass(frozen=True, slots=True)
class ClockOverrides:
    """What an admin set for one deployment; None keeps the default of the kind of request."""

    first_token_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None

    def apply(self, defaults: Clocks) -> Clocks:
        chosen = {
            "first_token_s": self.first_token_s,
            "idle_s": self.idle_s,
            "total_s": self.total_s,
        }
        return replace(defaults, **{name: value for name, value in chosen.items() if value})


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """Everything a request needs to know of one deployment.

    Attributes:
        deployment: Its name, for logs and headers.
        api_key: None sends no `Authorization` header.
        context_tokens: Input and output together; None when unknown.
        reports_stream_usage: Whether it may be asked to count the tokens of a stream.
        max_in_flight: Most requests at once, from all workers together.
        has_system_role: Whether system messages are sent as such, or folded into the first user
            turn.
        fills_in_middle: Whether its own fill-in-the-middle endpoint was seen to work.
        honours_stop: Whether it was not seen to overlook stop sequences; else we cut at them.
    """

    deployment: str
    family: ModelFamily
    serving_format: str
    endpoints: tuple[Endpoint, ...]
    model_identifier: str
    api_key: Secret | None = None
    context_tokens: int | None = None
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT
    reports_stream_usage: bool = True
    has_system_role: bool = True
    fills_in_middle: bool = False
    honours_stop: bool = True
    clock_overrides: ClockOverrides = ClockOverrides()
