"""What Prometheus is told, on a port of its own (METRICS_BIND). No label is a caller's to choose.

Counters are written as requests end; gauges are sampled once a second from what the worker holds,
so neither costs a request anything to speak of. Several workers share what they count through
files (`PROMETHEUS_MULTIPROC_DIR`, set by `deploy/serve.py`); any of them answers for all.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.routing.endpoint_state import HealthState
from gateway.routing.fleet import Fleet
from gateway.routing.line import Lane
from gateway.routing.quotas import Quotas

CONTENT_TYPE = CONTENT_TYPE_LATEST
SAMPLE_EVERY_S = 1.0

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_ANSWERED_BY = ("feature", "deployment")

_requests = Counter(
    "duo_requests",
    "Requests that ended. Those whose client left have an outcome of their own.",
    (*_ANSWERED_BY, "outcome"),
)
_total = Histogram(
    "duo_request_seconds", "From first to last byte.", _ANSWERED_BY, buckets=_SECONDS
)
_first = Histogram(
    "duo_first_content_seconds",
    "From the request to the first text of its answer.",
    _ANSWERED_BY,
    buckets=_SECONDS,
)
_queued = Histogram(
    "duo_queued_seconds", "Wait for a slot of the deployment.", _ANSWERED_BY, buckets=_SECONDS
)
_tokens = Counter("duo_tokens", "As the model servers counted them.", (*_ANSWERED_BY, "direction"))
_attempts = Counter("duo_upstream_attempts", "Requests sent to model servers.", _ANSWERED_BY)
_unrecorded = Counter(
    "duo_usage_unrecorded", "Requests left out of the usage records for lack of room or database."
)

_in_flight = Gauge(
    "duo_in_flight", "Requests a deployment works on.", ("deployment",), multiprocess_mode="livesum"
)
_waiting = Gauge(
    "duo_waiting",
    "Requests waiting for a slot of a deployment.",
    ("deployment", "lane"),
    multiprocess_mode="livesum",
)
_slots = Gauge(
    "duo_slots",
    "Slots of a deployment that workers hold.",
    ("deployment",),
    multiprocess_mode="livesum",
)
_endpoint_down = Gauge(
    "duo_endpoint_down",
    "Workers to which an endpoint is down.",
    ("deployment", "endpoint"),
    multiprocess_mode="livesum",
)
_worker_in_flight = Gauge(
    "duo_worker_in_flight", "Requests under way at all workers.", multiprocess_mode="livesum"
)
_loop_lag = Gauge(
    "duo_event_loop_lag_seconds",
    "How late the event loop of the slowest worker is.",
    multiprocess_mode="livemax",
)
_configuration_age = Gauge(
    "duo_configuration_age_seconds",
    "For how long the worker with the oldest configuration could not confirm it.",
    multiprocess_mode="livemax",
)


def count_request(
    *,
    feature: str,
    deployment: str,
    outcome: str,
    total_s: float,
    first_content_s: float | None,
    queued_s: float,
    attempts: int,
    input_tokens: int | None,
    output_tokens: int | None,
) -> None:
    """Count a request that ended."""
    answered_by = (feature, deployment)
    _child(_requests, *answered_by, outcome).inc()
    _child(_total, *answered_by).observe(total_s)
    if attempts:
        _child(_attempts, *answered_by).inc(attempts)
        _child(_queued, *answered_by).observe(queued_s)
    if first_content_s is not None:
        _child(_first, *answered_by).observe(first_content_s)
    if input_tokens:
        _child(_tokens, *answered_by, "input").inc(input_tokens)
    if output_tokens:
        _child(_tokens, *answered_by, "output").inc(output_tokens)


def count_unrecorded(requests: int) -> None:
    """Count requests that no usage record will tell of."""
    _unrecorded.inc(requests)


@lru_cache(maxsize=4096)
def _child(metric: Counter | Histogram, *labels: str) -> Any:
    return metric.labels(*labels)


class Sampler:
    """Sets the gauges from what one worker holds.

    Args:
        fleet: The model servers.
        quotas: What is under way.
        configuration_age_s: For how long the configuration was not confirmed; None before it was
            read once.
    """

    def __init__(
        self, fleet: Fleet, quotas: Quotas, configuration_age_s: Callable[[], float | None]
    ) -> None:
        self._fleet = fleet
        self._quotas = quotas
        self._configuration_age_s = configuration_age_s
        self._due_at: float | None = None
        self._told_down: set[tuple[str, str]] = set()
        self._told_lines: set[str] = set()

    async def sample(self) -> float:
        """Sample once; return the seconds until the next time."""
        now = self._fleet.now()
        _loop_lag.set(0 if self._due_at is None else max(0.0, now - self._due_at))
        self._due_at = now + SAMPLE_EVERY_S
        _worker_in_flight.set(self._quotas.in_flight)
        if (age_s := self._configuration_age_s()) is not None:
            _configuration_age.set(age_s)
        self._sample_lines()
        self._sample_endpoints()
        return SAMPLE_EVERY_S

    def _sample_lines(self) -> None:
        """Tell of each deployment; one that was taken away holds nothing any more."""
        lines = self._fleet.lines
        for name in self._told_lines | lines.keys():
            line = lines.get(name)
            _in_flight.labels(name).set(line.in_flight if line else 0)
            _slots.labels(name).set(line.limit if line else 0)
            for lane in Lane:
                waiting = line.waiting_in(lane) if line else 0
                _waiting.labels(name, lane.name.lower()).set(waiting)
        self._told_lines = set(lines)

    def _sample_endpoints(self) -> None:
        """Tell of configured endpoints; one that was taken away is not down for ever."""
        down = {
            key
            for key in self._fleet.registered & self._fleet.endpoints.keys()
            if self._fleet.endpoints[key].health.state is HealthState.DOWN
        }
        for key in self._told_down | self._fleet.registered:
            _endpoint_down.labels(*key).set(key in down)
        self._told_down = down


def exposition() -> bytes:
    """Return the metrics of all workers in Prometheus' text format; reads files."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
