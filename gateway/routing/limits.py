"""The limits of one worker: each is a setting."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker lets through.

    Attributes:
        workers: How many workers, on all nodes, share each deployment's slots.
        worker_in_flight: Requests one worker serves at once.
        user_in_flight: Requests of one user at once; 0 is no limit.
        user_per_minute: Requests of one user a minute; 0 is no limit.
        queue_size: Requests waiting before one deployment.
        queue_wait_s: Longest wait for a slot.
        breaker_failures: Consecutive failures that open a circuit; 0 leaves circuits closed.
    """

    workers: int = 1
    worker_in_flight: int = 200
    user_in_flight: int = 8
    user_per_minute: int = 60
    queue_size: int = 32
    queue_wait_s: float = 2.0
    breaker_failures: int = 5
